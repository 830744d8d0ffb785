"""Templates of stellar populations: our own grid, the documented formats, and files that must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galbase.ml.labels.templates import TemplateSet, own_templates, read_templates
from galbase.schema.errors import GalbaseError, UsageError

WAVE = np.linspace(3500.0, 9000.0, 1101)
AGES_GYR, MH = np.array([0.1, 1.0, 10.0]), np.array([-0.5, 0.2])


def spectrum(age_gyr: float, mh: float) -> np.ndarray[Any, Any]:
    return (WAVE / 5500.0) ** (np.log10(age_gyr) + mh) * (1 + age_gyr)


def cube() -> np.ndarray[Any, Any]:
    """(n_wave, n_age, n_metal), as pPXF's files have it."""
    return np.array([[spectrum(age, mh) for mh in MH] for age in AGES_GYR]).transpose(2, 0, 1)


def rows() -> dict[str, np.ndarray[Any, Any]]:
    pairs = [(age, mh) for mh in MH for age in AGES_GYR]
    return {
        "flux": np.array([spectrum(*pair) for pair in pairs]),
        "age_gyr": np.array([age for age, _ in pairs]),
        "mh": np.array([mh for _, mh in pairs]),
    }


def by_population(templates: TemplateSet) -> dict[tuple[float, float], np.ndarray[Any, Any]]:
    """Spectra, in units of that of 1 Gyr and [M/H] 0.2 at 5500 A, by rounded age and metallicity."""
    keys = [
        (round(10 ** float(a - 9), 4), round(float(m), 4)) for a, m in zip(templates.log_age, templates.mh, strict=True)
    ]
    found = dict(zip(keys, templates.flux, strict=True))
    unit = np.interp(5500.0, templates.wave_angstrom, found[1.0, 0.2])
    return {key: flux / unit for key, flux in found.items()}


def assert_alike(templates: TemplateSet) -> None:
    found = by_population(templates)
    assert set(found) == {(age, mh) for age in AGES_GYR for mh in MH}
    unit = spectrum(1.0, 0.2)[np.searchsorted(WAVE, 5500.0)]
    for (age, mh), flux in found.items():
        assert flux == pytest.approx(spectrum(age, mh) / unit, rel=1e-3)


def write_folder(folder: Path) -> Path:
    folder.mkdir()
    for age in AGES_GYR:
        for mh in MH:
            hdu = fits.PrimaryHDU(spectrum(age, mh))
            hdu.header["CRVAL1"], hdu.header["CDELT1"], hdu.header["CRPIX1"] = WAVE[10], WAVE[1] - WAVE[0], 11.0
            hdu.writeto(folder / f"Mun1.30Z{'m' if mh < 0 else 'p'}{abs(mh):.2f}T{age:07.4f}.fits")
    return folder


def test_all_formats_give_the_same_populations(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", wave_vacuum=WAVE, **rows())
    np.savez(
        tmp_path / "cube.npz", templates=cube(), lam=WAVE, ages=AGES_GYR, metals=MH, fwhm=2.5, masses=np.ones((3, 2))
    )
    folder = write_folder(tmp_path / "miles")
    assert_alike(read_templates(tmp_path / "rows.npz"))
    assert_alike(read_templates(tmp_path / "cube.npz", "vacuum"))
    assert_alike(read_templates(folder, "vacuum"))


def test_the_resolution_is_the_files_or_the_users(tmp_path: Path) -> None:
    np.savez(tmp_path / "cube.npz", templates=cube(), lam=WAVE, ages=AGES_GYR, metals=MH, fwhm=np.full(1101, 2.5))
    np.savez(tmp_path / "rows.npz", wave_vacuum=WAVE, **rows())
    stated = read_templates(tmp_path / "cube.npz", "vacuum", 9.0).fwhm_angstrom
    assert stated is not None
    assert set(stated) == {2.5}
    told = read_templates(tmp_path / "rows.npz", fwhm_angstrom=3.0).fwhm_angstrom
    assert told is not None
    assert set(told) == {3.0}
    assert read_templates(tmp_path / "rows.npz").fwhm_angstrom is None


def test_wavelengths_in_air_become_those_in_vacuum(tmp_path: Path) -> None:
    np.savez(tmp_path / "air.npz", wave_air=WAVE, **rows())
    found = read_templates(tmp_path / "air.npz").wave_angstrom
    # Na D1 and [O III]: air and vacuum of the NIST tables.
    for air, vacuum in ((5895.924, 5897.558), (5006.843, 5008.240)):
        assert np.interp(air, WAVE, found) == pytest.approx(vacuum, abs=0.01)


def test_metal_mass_fractions_are_against_a_sun_of_two_per_cent(tmp_path: Path) -> None:
    arrays = rows() | {"Z": np.repeat([0.002, 0.02], 3)}
    del arrays["mh"]
    np.savez(tmp_path / "z.npz", wave_vacuum=WAVE, **arrays)
    assert read_templates(tmp_path / "z.npz").mh == pytest.approx(np.repeat([-1.0, 0.0], 3))


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    arrays = rows()
    np.savez(tmp_path / "a.npz", wave_vacuum=WAVE, **arrays)
    np.savez_compressed(tmp_path / "b.npz", wave_vacuum=WAVE, **dict(reversed(arrays.items())))
    arrays["flux"] = arrays["flux"] * (1 + 1e-6 * (np.arange(6)[:, None] == 2))
    np.savez(tmp_path / "c.npz", wave_vacuum=WAVE, **arrays)
    first, packed, changed = (read_templates(tmp_path / f"{name}.npz").digest for name in "abc")
    assert first == packed
    assert changed != first
    assert read_templates(tmp_path / "a.npz", fwhm_angstrom=2.0).digest != first


def test_light_in_a_band_is_the_mean_flux_density(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", wave_vacuum=WAVE, **rows())
    found = read_templates(tmp_path / "rows.npz")
    light = found.band_light("5000-6000")
    # The integral of a power law, by hand.
    power = found.log_age - 9 + found.mh + 1
    wanted = (1 + 10 ** (found.log_age - 9)) * (6000**power - 5000**power) / power / 5500 ** (power - 1)
    assert light / light[0] == pytest.approx(wanted / wanted[0], rel=2e-3)


def test_our_own_grid_covers_what_is_fitted() -> None:
    own = own_templates()
    assert own.flux.shape[0] == 40
    assert own.wave_angstrom[0] < 3830 / 1.13
    assert own.wave_angstrom[-1] > 8000
    assert (own.log_age.min(), own.log_age.max()) == pytest.approx((np.log10(5e6), 10.0))
    assert own.band_light("sdss-r").shape == (40,)


def test_real_templates_are_our_own_grids(test_data: Path) -> None:
    """The BC03 spectra that our grid was made of: the same populations, in air, give the same spectra."""
    folder = test_data / "ssp-templates"
    bc03 = read_templates(folder / "bc03_mpajhu.npz", "air", 3.0)
    own = own_templates()
    place = np.argsort(bc03.mh * 100 + bc03.log_age), np.argsort(own.mh * 100 + own.log_age)
    assert bc03.log_age[place[0]] == pytest.approx(own.log_age[place[1]])
    assert bc03.mh[place[0]] == pytest.approx(own.mh[place[1]], abs=1e-5)
    wave = own.wave_angstrom[(own.wave_angstrom > 3500) & (own.wave_angstrom < 9000)]
    for a, b in zip(place[0], place[1], strict=True):
        ratio = np.interp(wave, bc03.wave_angstrom, bc03.flux[a]) / np.interp(wave, own.wave_angstrom, own.flux[b])
        assert np.std(ratio) / np.mean(ratio) < 0.01
    assert read_templates(folder / "mastar_ssp_v1.0.npz", "vacuum").flux.shape == (54, 4562)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {}, "--template-wavelengths"),
        ({"wave_air": WAVE}, {"wavelengths_in": "vacuum"}, "are in air, not in vacuum"),
        ({"wave": WAVE[::-1]}, {"wavelengths_in": "air"}, "do not rise"),
        ({"flux": np.ones((5, 1101))}, {"wavelengths_in": "air"}, "do not fit each other"),
        ({"age_gyr": np.ones(6)}, {"wavelengths_in": "air"}, "all have one age"),
        ({"age_gyr": np.zeros(6)}, {"wavelengths_in": "air"}, "ages must be above 0"),
        ({"mh": np.full(6, np.nan)}, {"wavelengths_in": "air"}, "not finite"),
        ({"fwhm_angstrom": np.ones(5)}, {"wavelengths_in": "air"}, "cannot be read"),
        ({}, {"wavelengths_in": "water"}, "use vacuum or air"),
        ({}, {"fwhm_angstrom": -1.0}, "makes no sense"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    arrays = {"wave": WAVE} | rows() | changes
    np.savez(tmp_path / "templates.npz", **arrays)
    with pytest.raises(GalbaseError, match=message):
        read_templates(tmp_path / "templates.npz", **options)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GalbaseError, match="are not there"):
        read_templates(tmp_path / "none.npz")
    (tmp_path / "text.csv").write_text("no templates")
    with pytest.raises(GalbaseError, match="neither a folder of FITS spectra nor"):
        read_templates(tmp_path / "text.csv")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(GalbaseError, match="cannot be read"):
        read_templates(tmp_path / "text.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalbaseError, match="no FITS file there is named like"):
        read_templates(tmp_path / "empty", "air")
    # Objects would have to be unpickled, which can run code.
    np.savez(tmp_path / "objects.npz", wave_air=WAVE, flux=np.array([{}], object), age_gyr=AGES_GYR, mh=MH)
    with pytest.raises(GalbaseError, match="cannot be read"):
        read_templates(tmp_path / "objects.npz")
    with pytest.raises(UsageError, match="name --templates first"):
        read_templates(None, "air")


def test_a_band_that_templates_do_not_cover_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", wave_vacuum=WAVE, **rows())
    found = read_templates(tmp_path / "rows.npz")
    with pytest.raises(GalbaseError, match="not over the band"):
        found.band_light("9500-9900")
    with pytest.raises(UsageError, match="LOW-HIGH"):
        found.band_light("r")
