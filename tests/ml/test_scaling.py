"""Label scaling."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.scaling import LabelScaler
from galbase.schema.errors import GalbaseError


def test_round_trip_and_range() -> None:
    label = np.array([[9.0, -12.0], [11.0, -9.0], [10.0, -10.0]])
    scaler = LabelScaler.fit(label)
    assert scaler.scale(label).min(axis=0).tolist() == [0, 0]
    assert scaler.scale(label).max(axis=0).tolist() == [1, 1]
    assert scaler.unscale(scaler.scale(label)) == pytest.approx(label)
    assert LabelScaler.from_mapping(scaler.to_mapping()) == scaler


@pytest.mark.parametrize("label", [np.empty((0, 2)), [[1.0], [np.nan]], [[1.0], [1.0]]])
def test_refuses_labels_that_cannot_be_scaled(label: np.ndarray) -> None:
    with pytest.raises(GalbaseError):
        LabelScaler.fit(label)
