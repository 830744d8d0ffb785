"""Samples: their size, their repeatability, and how flat a uniform one is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galbase.ml.sampling import random_sample, uniform_sample
from galbase.schema.errors import GalbaseError


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(1, 500), st.integers(0, 2**32), st.integers(1, 30))
def test_a_uniform_sample_is_as_flat_as_the_values_allow(n: int, size: int, seed: int, n_bin: int) -> None:
    # On the middles of the bins, so that no rounding at an edge tells otherwise than the histogram.
    grid = (np.random.default_rng(seed).normal(0, n_bin / 6, n).round() + 0.5).clip(-n_bin, n_bin)
    rows = uniform_sample(grid, size, seed, n_bin)
    assert len(rows) == len(set(rows.tolist())) == min(n, size)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, uniform_sample(grid, size, seed, n_bin))
    if size >= n or grid.min() == grid.max():
        return
    edges = np.linspace(grid.min(), grid.max(), n_bin + 1)
    there, drawn = np.histogram(grid, edges)[0], np.histogram(grid[rows], edges)[0]
    # A bin that could have given more has given as many as any other, but for one.
    assert drawn[drawn < there].min(initial=n) >= drawn.max() - 1


def test_the_shape_of_a_skewed_label_is_gone() -> None:
    rng = np.random.default_rng(1)
    value = np.clip(rng.normal(8.9, 0.2, 200_000), 8.0, 9.2)
    drawn = value[uniform_sample(value, 25_000, 1)]
    there, got = (np.histogram(each, 10, (8.0, 9.2))[0] for each in (value, drawn))
    assert len(drawn) == 25_000
    # The thin tail is taken whole, and the rest is flat, where the label itself was not.
    np.testing.assert_array_equal(got[:2], there[:2])
    assert got[4:].max() < 1.03 * got[4:].min()
    assert there[4:].max() > 3 * there[4:].min()


def test_a_random_sample_keeps_the_shape() -> None:
    value = np.random.default_rng(1).normal(0, 1, 50_000)
    rows = random_sample(len(value), 10_000, 3)
    assert value[rows].std() == pytest.approx(1, abs=0.02)
    assert (rows != random_sample(len(value), 10_000, 4)).any()
    np.testing.assert_array_equal(random_sample(5, 9, 0), np.arange(5))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(GalbaseError, match="needs finite labels"):
        uniform_sample([1.0, float("nan"), 2.0], 2, 0)
    np.testing.assert_array_equal(uniform_sample([3.0, 3.0, 3.0], 2, 0).size, 2)
