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
            "SELECT psf, psf_missing FROM api.image_input(%s, '{g,r,z}', %s::real[])",
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
            "SELECT has_bands FROM api.image_input(%s, '{g,r,z}', NULL)", (Jsonb({"recipe": recipe}),)
        ).fetchone()
    assert found == (expected,)
