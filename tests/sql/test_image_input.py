"""Which bands and widths of the PSF a model reads, and which of them an image has."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb


@pytest.mark.parametrize(
    ("scalars", "widths", "expected"),
    [
        ("growth", [1.5, 1.25, 1.0], (" psf 1.5,1.25,1", False)),
        ("growth", [1.5, None, 1.0], (" psf 1.5,?,1", True)),
        ("growth", [1.5, float("nan"), 1.0], (" psf 1.5,NaN,1", True)),
        ("growth", None, (" psf ", True)),
        ("total", None, ("", False)),
    ],
)
def test_widths_that_are_not_known_are_told(
    fresh_archive: Any, scalars: str, widths: list[float | None] | None, expected: tuple[str, bool]
) -> None:
    with fresh_archive.connect() as connection:
        found = connection.execute(
            "SELECT psf, psf_missing FROM api.image_input(%s, '{g,r,z}', %s::real[], 0.262, false, 152)",
            (Jsonb({"recipe": {"scalars": scalars}}), widths),
        ).fetchone()
    assert found == expected


@pytest.mark.parametrize(("bands", "expected"), [(None, True), (["z", "g"], True), (["g", "i"], False)])
def test_a_model_of_some_bands_reads_images_that_have_them(
    fresh_archive: Any, bands: list[str] | None, expected: bool
) -> None:
    recipe = {} if bands is None else {"bands": bands}
    with fresh_archive.connect() as connection:
        found = connection.execute(
            "SELECT is_usable FROM api.image_input(%s, '{g,r,z}', NULL, NULL, true, 10)", (Jsonb({"recipe": recipe}),)
        ).fetchone()
    assert found == (expected,)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"bands": "{g,z}"}, False),
        ({"fwhm": [None, 1.0, None]}, True),
        ({"fwhm": [1.0, None, 1.0]}, False),
        ({"fwhm": [1.0, float("nan"), 1.0]}, False),
        ({"fwhm": [1.0, 4.1, 1.0]}, False),
        ({"fwhm": [1.0, 0.9, 1.0]}, False),
        ({"fwhm": None}, False),
        ({"scale": None}, False),
        ({"is_display": True}, False),
        ({"side": 60}, False),
    ],
)
def test_galnet_measures_fluxes_with_a_psf_like_those_it_learned_from(
    fresh_archive: Any, changed: dict[str, Any], expected: bool
) -> None:
    recipe = {"kind": "sersic", "bands": ["r"], "least_px": 61, "psf_fwhm_px": [2.0, 8.0]}
    image = {"bands": "{g,r,z}", "fwhm": [1.0, 1.0, 1.0], "scale": 0.5, "is_display": False, "side": 61, **changed}
    with fresh_archive.connect() as connection:
        found = connection.execute(
            "SELECT is_usable, psf_missing FROM api.image_input(%s, %s::text[], %s::real[], %s, %s, %s::integer)",
            (Jsonb({"recipe": recipe}), *image.values()),
        ).fetchone()
    assert found == (expected, False)
