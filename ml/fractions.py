"""Fractions of a split as users write them."""

from __future__ import annotations

from collections.abc import Mapping

from galbase.ml.splits import SPLITS
from galbase.schema.errors import UsageError


def parse_fractions(text: str) -> Mapping[str, float]:
    """Share of each split, from a ratio such as ``6:1:3`` or ``5:1:2:2``.

    Parameters
    ----------
    text : str
        Training, validation and test, as papers give it, or training, validation, calibration and test.

    Raises
    ------
    UsageError
        If it is not such a ratio, or leaves training or test without a share.
    """
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == len(SPLITS) - 1:
        parts.insert(SPLITS.index("calibration"), 0.0)
    if len(parts) != len(SPLITS) or not all(0 <= part < float("inf") for part in parts) or 0 in (parts[0], parts[-1]):
        raise UsageError(
            f"--fractions {text!r} is no ratio: write training:validation:test such as 6:1:3, or "
            "training:validation:calibration:test such as 11:2:3:4; training and test need a share."
        )
    total = sum(parts)
    return {name: part / total for name, part in zip(SPLITS, parts, strict=True)}
