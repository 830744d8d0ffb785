"""Min-max scaling of labels, fitted on the training split alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScaler:
    """Maps each property's training range to 0-1.

    Parameters
    ----------
    minimum, maximum : (n_property,) tuple of float
        Range of the training labels, in the properties' units.
    """

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    @classmethod
    def fit(cls, label: npt.ArrayLike) -> LabelScaler:
        """Fit on training labels ``(n, n_property)``.

        Raises
        ------
        GalbaseError
            If there are no labels, one is not finite, or a property has one value only.
        """
        values = np.asarray(label, dtype=np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise GalbaseError(f"labels of shape {values.shape} are empty or not finite; drop rows without.")
        low, high = values.min(axis=0), values.max(axis=0)
        if (high <= low).any():
            raise GalbaseError(f"property {int(np.argmax(high <= low))} has one label value only; nothing to learn.")
        return cls(tuple(low.tolist()), tuple(high.tolist()))

    def scale(self, label: npt.ArrayLike) -> Array:
        """Labels ``(n, n_property)`` in units of the training range."""
        low, high = np.asarray(self.minimum), np.asarray(self.maximum)
        return np.asarray((np.asarray(label, dtype=np.float64) - low) / (high - low))

    def unscale(self, scaled: npt.ArrayLike) -> Array:
        """Network outputs ``(..., n_property)`` in the properties' units."""
        low, high = np.asarray(self.minimum), np.asarray(self.maximum)
        return np.asarray(np.asarray(scaled, dtype=np.float64) * (high - low) + low)

    @property
    def width(self) -> Array:
        """Range of each property: what a spread of scaled outputs is multiplied by."""
        return np.subtract(self.maximum, self.minimum, dtype=np.float64)

    def to_mapping(self) -> dict[str, Sequence[float]]:
        """Plain values for a JSON column."""
        return {"minimum": list(self.minimum), "maximum": list(self.maximum)}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Sequence[float]]) -> LabelScaler:
        """From what `to_mapping` gave."""
        return cls(tuple(values["minimum"]), tuple(values["maximum"]))
