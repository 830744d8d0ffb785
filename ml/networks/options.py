"""Options of a network family: plain values, stored with the model, from which it is built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from galbase.schema.errors import UsageError

PRESETS = ("tiny", "small", "paper")
PIXEL_RANGES = ("uint8", "unit")


@dataclass(frozen=True)
class ImageOptions:
    """Options that all networks of one image have.

    Parameters
    ----------
    properties : tuple of str
        One output a property.
    size_px, n_band : int
        Stamp side in pixels and number of channels.
    pixel_range : str
        ``uint8``: display values 0-255, scaled inside the network; ``unit``: values of order one, used as they are.
    n_scalar : int
        Number of scalar inputs joined to the pooled features; 0 for none, as published.
    scalar_width : int
        Width of two dense layers that the scalars pass beside going straight to the head; 0 for none.
    n_level : int
        Quantiles of each property that are given, an odd number; 0 for one value, as published.
    """

    properties: tuple[str, ...] = ()
    size_px: int = 64
    n_band: int = 3
    pixel_range: str = "uint8"
    n_scalar: int = 0
    scalar_width: int = 0
    n_level: int = 0

    @classmethod
    def from_mapping(cls, family: str, values: Mapping[str, Any]) -> Self:
        """Options from a mapping as stored in the database.

        Parameters
        ----------
        family : str
            Name of the network, for messages.
        values : mapping

        Raises
        ------
        UsageError
            If a key or a value is not one of this family's.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"{family} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        options = cls(**{**values, "properties": tuple(values.get("properties", cls.properties))})
        if options.pixel_range not in PIXEL_RANGES:
            raise UsageError(f"pixel_range {options.pixel_range!r} is neither 'uint8' nor 'unit'.")
        if options.n_level and options.n_level % 2 == 0:
            raise UsageError(f"n_level {options.n_level} is even; quantiles lie on both sides of the median.")
        if not options.properties:
            raise UsageError(f"{family} needs at least one property to predict.")
        return options

    def to_mapping(self) -> dict[str, Any]:
        """The options as plain values for a JSON column."""
        return {**asdict(self), "properties": list(self.properties)}


def check_preset(family: str, preset: str) -> None:
    """Refuse a preset that does not exist.

    Raises
    ------
    UsageError
    """
    if preset not in PRESETS:
        raise UsageError(f"{family} has no preset {preset!r}; use one of {', '.join(PRESETS)}.")
