"""Source ids: the same wherever and in whatever order they are made."""

import numpy as np
import pytest

from galbase.schema import ids
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import hpx29


def some(n: int) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(n)
    return [f"object {i}" for i in range(n)], hpx29(rng.uniform(0, 360, n), rng.uniform(-80, 80, n))


def test_ids_do_not_depend_on_the_order_of_rows() -> None:
    names, pixels = some(500)
    order = np.random.default_rng(0).permutation(500)
    made = ids.source_ids("survey dr1", names, pixels)
    shuffled = ids.source_ids("survey dr1", [names[i] for i in order], pixels[order])
    np.testing.assert_array_equal(made[order], shuffled)
    assert len(set(made.tolist())) == 500


def test_a_patch_of_sky_is_a_range_of_ids() -> None:
    names, pixels = some(300)
    made = ids.source_ids("survey dr1", names, pixels)
    np.testing.assert_array_equal(made >> ids.HASH_BITS, pixels >> (2 * (29 - ids.PIXEL_ORDER)))
    assert made.min() >= 0


def test_another_release_gives_other_ids() -> None:
    names, pixels = some(50)
    assert set(ids.source_ids("a", names, pixels)) & set(ids.source_ids("b", names, pixels)) == set()


def test_a_collision_is_salted_the_same_way_every_time(caplog: pytest.LogCaptureFixture) -> None:
    names, pixels = some(1)
    first = int(ids.source_ids("r", names, pixels)[0])
    again = int(ids.source_ids("r", names, pixels, taken={first: "r/another"})[0])
    assert again != first
    assert again >> ids.HASH_BITS == first >> ids.HASH_BITS
    assert again == int(ids.source_ids("r", names, pixels, taken={first: "r/another"})[0])
    assert "is taken by r/another" in caplog.text


def test_a_repeated_native_id_is_refused() -> None:
    with pytest.raises(GalbaseError, match="'x' occurs twice"):
        ids.source_ids("r", ["x", "x"], np.array([1, 2]))
