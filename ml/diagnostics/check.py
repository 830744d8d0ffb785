"""A number with the value that publications lead one to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galbase.schema.errors import GalbaseError


@dataclass(frozen=True)
class Check:
    """One number and its verdict.

    Attributes
    ----------
    name : str
        What was measured, with its unit.
    value : float
        Measured.
    expected : float
        Published, or what the files themselves claim.
    tolerance : float
        Largest distance from `expected` that passes; infinite where only `low` or `high` bound.
    reference : str
        Where the expectation comes from.
    n : int
        Objects behind the value.
    side : {'both', 'above', 'below'}
        Which side of `expected` passes without limit: a lower bound passes 'above'.
    """

    name: str
    value: float
    expected: float
    tolerance: float
    reference: str
    n: int
    side: str = "both"

    @property
    def passed(self) -> bool:
        """Whether the value is what is expected; a value that is not finite never is."""
        distance = self.value - self.expected
        if not np.isfinite(distance):
            return False
        if self.side == "above":
            return bool(distance >= -self.tolerance)
        if self.side == "below":
            return bool(distance <= self.tolerance)
        return bool(abs(distance) <= self.tolerance)

    def as_dict(self) -> dict[str, object]:
        """For JSON; values that are not finite become None."""
        return {
            "name": self.name,
            "value": float(self.value) if np.isfinite(self.value) else None,
            "expected": self.expected,
            "tolerance": self.tolerance,
            "side": self.side,
            "n": self.n,
            "reference": self.reference,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Skipped:
    """A diagnostic that could not be made, and why."""

    name: str
    reason: str


class NotInSurveyError(GalbaseError):
    """The survey's files lack what a diagnostic needs; the diagnostic is skipped with this reason."""


def enough(name: str, n: int, least: int) -> None:
    """Stop a diagnostic whose sample is too small to say anything.

    Raises
    ------
    NotInSurveyError
        If there are fewer than `least` objects.
    """
    if n < least:
        raise NotInSurveyError(f"{name}: {n} objects, of which at least {least} are needed; simulate a larger survey")
