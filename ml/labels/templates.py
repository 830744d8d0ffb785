"""Templates of stellar populations that spectra are fitted with: our own grid, or files that the user supplies.

Formats of files:

- ``.npz`` as pPXF's own example templates have it: ``templates`` (n_wave, n_age, n_metal), ``lam`` [A], ``ages`` [Gyr],
  ``metals`` [M/H], and ``fwhm`` [A], one value or one a wavelength;
- ``.npz`` with a row a template: ``flux`` (n, n_wave), a wavelength [A] as ``wave_vacuum``, ``wave_air``, or, where
  the file does not tell, ``wave``, ``wavelength`` or ``wave_vac_or_air``; ``age_gyr`` or ``age_yr`` (n,); ``mh`` or
  ``metallicity`` [log solar] or ``Z`` (mass fraction; solar is 0.02) (n,); ``fwhm_angstrom`` if it is known;
- a folder of one-dimensional FITS spectra named as those of Vazdekis et al. (2010) and E-MILES are, for example
  ``Mun1.30Zm0.71T01.0000.fits``: metallicity -0.71, 1 Gyr; wavelengths by CRVAL1, CRPIX1 and CDELT1 (A, linear).

Files are read as arrays alone; nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galbase.ml.simulate.filters import FILTERS, SDSS_R, load_filters
from galbase.ml.simulate.ssp import ssp_grid
from galbase.ml.simulate.ssp_grid_build import SUN_Z, vacuum
from galbase.schema.errors import GalbaseError, UsageError

Floats = npt.NDArray[np.float64]

OWN = "galbase"
# Bluer, the grid is a power law without features; BC03 has STELIB's 3 A (Bruzual & Charlot 2003, section 2.2.2).
OWN_START_ANGSTROM = 3330.0
OWN_FWHM_ANGSTROM = 3.0
SDSS_R_BAND = "sdss-r"
_UNSTATED_WAVES = ("wave", "wavelength", "wave_vac_or_air", "lam")
_VAZDEKIS = re.compile(r"Z(?P<sign>[pm])(?P<mh>\d+\.\d+)T(?P<age>\d+\.\d+)")
_MEDIA = ("vacuum", "air")


@dataclass(frozen=True, eq=False)
class TemplateSet:
    """Spectra of stellar populations.

    Parameters
    ----------
    name : str
        File name, or ``galbase`` for our own grid.
    wave_angstrom : (n_wave,) float64
        Vacuum wavelengths, rising.
    flux : (n, n_wave) float64
        Flux density per wavelength, relative.
    log_age : (n,) float64
        log10 of age [yr].
    mh : (n,) float64
        Metallicity [log solar].
    fwhm_angstrom : (n_wave,) float64 or None
        Width of their resolution element; None where it is not known.
    """

    name: str
    wave_angstrom: Floats
    flux: Floats
    log_age: Floats
    mh: Floats
    fwhm_angstrom: Floats | None

    def __post_init__(self) -> None:
        n, n_wave = self.flux.shape if self.flux.ndim == 2 else (0, 0)
        if not n or self.wave_angstrom.shape != (n_wave,) or self.log_age.shape != (n,) or self.mh.shape != (n,):
            raise GalbaseError(
                f"templates {self.name}: flux {self.flux.shape}, wavelengths {self.wave_angstrom.shape}, ages "
                f"{self.log_age.shape} and metallicities {self.mh.shape} do not fit each other; a row of flux is a "
                "template."
            )
        if not (self.wave_angstrom[0] > 0 and (np.diff(self.wave_angstrom) > 0).all()):
            raise GalbaseError(f"templates {self.name}: the {n_wave} wavelengths do not rise; mend the file.")
        for what, values in (("fluxes", self.flux), ("ages", self.log_age), ("metallicities", self.mh)):
            if not np.isfinite(values).all():
                raise GalbaseError(f"templates {self.name}: some {what} are not finite; mend the file.")
        if len(np.unique(self.log_age)) < 2:
            raise GalbaseError(f"templates {self.name}: all have one age; ages are what is to be found.")
        width = self.fwhm_angstrom
        if width is not None and (width.shape != (n_wave,) or not (np.isfinite(width) & (width >= 0)).all()):
            raise GalbaseError(f"templates {self.name}: the resolution is not a width in A at each wavelength.")

    @property
    def digest(self) -> str:
        """SHA-256 of all that a fit depends on, hexadecimal; the same however the file is packed."""
        digest = hashlib.sha256()
        width = np.empty(0) if self.fwhm_angstrom is None else self.fwhm_angstrom
        for values in (self.wave_angstrom, self.flux, self.log_age, self.mh, width):
            digest.update(str(values.shape).encode())
            digest.update(np.ascontiguousarray(values, "<f8").tobytes())
        return digest.hexdigest()

    def band_light(self, band: str) -> Floats:
        """Light of each template in a band, at rest: ``(n,)``, in a common unit.

        Parameters
        ----------
        band : str
            ``sdss-r``, photons through the filter, or LOW-HIGH [A, vacuum], mean flux density.

        Raises
        ------
        UsageError
            If the band is none of these.
        GalbaseError
            If the templates do not cover it, or have no light there.
        """
        wave = self.wave_angstrom
        if band == SDSS_R_BAND:
            name = FILTERS[SDSS_R]
            low, high = load_filters()[name].wave[[0, -1]]
            weight = wave * load_filters()[name].at(wave)
        else:
            low, high = band_range(band)
            weight = ((wave >= low) & (wave <= high)).astype(np.float64)
        if wave[0] > low or wave[-1] < high:
            raise GalbaseError(
                f"templates {self.name} reach from {wave[0]:.0f} to {wave[-1]:.0f} A and not over the band {band}, "
                f"{low:.0f} to {high:.0f} A; weigh by another --band."
            )
        light = np.asarray(np.trapezoid(self.flux * weight, wave, axis=1), np.float64)
        if not (light > 0).all():
            raise GalbaseError(f"templates {self.name}: {int((light <= 0).sum())} have no light in the band {band}.")
        return light


def band_range(band: str) -> tuple[float, float]:
    """Borders of a band that is written LOW-HIGH [A].

    Raises
    ------
    UsageError
        If it is not.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", band)
    if match is None or not 0 < float(match[1]) < float(match[2]):
        raise UsageError(f"band {band!r} is neither {SDSS_R_BAND!r} nor LOW-HIGH in Angstrom, such as 5070-5950.")
    return float(match[1]), float(match[2])


def own_templates() -> TemplateSet:
    """The grid that galbase ships for its simulated survey: 40 BC03 populations, 5 Myr to 10 Gyr, [M/H] -0.7 to 0.4.

    It reaches from 3330 to 10350 A (beyond 9250 A as MaStar), so that of an observed spectrum from 3830 to 8000 A all
    is fitted up to redshift 0.13, and what lies above 3330 A at rest beyond. Its resolution, 3 A, is that of SDSS
    spectra at 5530 A at rest; at shorter wavelengths it is coarser than theirs (2.1 A at 3900 A), which the fitted
    velocity dispersion has to make up for: populations are hardly touched, dispersions below 150 km/s are too low.
    """
    grid = ssp_grid()
    used = grid.wave >= OWN_START_ANGSTROM
    flux = grid.luminosity.reshape(-1, len(grid.wave))[:, used]
    wave = grid.wave[used]
    return TemplateSet(
        OWN,
        wave,
        flux / np.median(flux),
        np.tile(np.log10(grid.age_yr), len(grid.mh)),
        np.repeat(grid.mh, len(grid.age_yr)),
        np.full(len(wave), OWN_FWHM_ANGSTROM),
    )


def read_templates(
    path: Path | None, wavelengths_in: str | None = None, fwhm_angstrom: float | None = None
) -> TemplateSet:
    """Templates of a file or folder, as of this module's description; our own grid when None.

    Parameters
    ----------
    path : Path or None
    wavelengths_in : {'vacuum', 'air'} or None
        What the wavelengths are, where the file does not say.
    fwhm_angstrom : float, optional
        Resolution of the templates, where the file does not say; unknown when None.

    Raises
    ------
    UsageError
        If it must be said whether wavelengths are in vacuum or in air, or is said against what the file says.
    GalbaseError
        If the path is missing, or is none of the formats.
    """
    if wavelengths_in is not None and wavelengths_in not in _MEDIA:
        raise UsageError(f"wavelengths in {wavelengths_in!r}: use vacuum or air.")
    if fwhm_angstrom is not None and not (np.isfinite(fwhm_angstrom) and fwhm_angstrom >= 0):
        raise UsageError(f"a resolution of {fwhm_angstrom} A makes no sense; give the templates' FWHM in Angstrom.")
    if path is None:
        if wavelengths_in is not None or fwhm_angstrom is not None:
            raise UsageError("the wavelengths and resolution of galbase's own grid are known; name --templates first.")
        return own_templates()
    if not path.exists():
        raise GalbaseError(f"templates {path} are not there; check the path.")
    try:
        if path.is_dir():
            return _read_folder(path, wavelengths_in, fwhm_angstrom)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: np.asarray(data[name]) for name in data.files}
            return _from_arrays(path.name, arrays, wavelengths_in, fwhm_angstrom)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise GalbaseError(f"templates {path} cannot be read: {error}. Check the file.") from error
    raise GalbaseError(
        f"templates {path} are neither a folder of FITS spectra nor an .npz file; `galbase labels fit --help` "
        "names the formats."
    )


def _from_arrays(
    name: str, arrays: Mapping[str, npt.NDArray[np.generic]], wavelengths_in: str | None, fwhm: float | None
) -> TemplateSet:
    if {"templates", "lam", "ages", "metals"} <= set(arrays):
        cube = np.asarray(arrays["templates"], np.float64)
        ages, metals = (np.asarray(arrays[key], np.float64) for key in ("ages", "metals"))
        if cube.ndim != 3 or cube.shape[1:] != (len(ages), len(metals)):
            raise GalbaseError(
                f"templates {name}: templates {cube.shape} are not (wavelengths, {len(ages)} ages, {len(metals)} "
                "metallicities)."
            )
        flux = cube.reshape(len(cube), -1).T
        age_gyr, mh = np.repeat(ages, len(metals)), np.tile(metals, len(ages))
    else:
        flux = np.asarray(_named(name, arrays, "flux"), np.float64)
        age_gyr = (
            np.asarray(arrays["age_yr"], np.float64) / 1e9
            if "age_yr" in arrays
            else np.asarray(_named(name, arrays, "age_gyr"), np.float64)
        )
        if "Z" in arrays:
            mh = np.log10(np.asarray(arrays["Z"], np.float64) / SUN_Z)
        else:
            mh = np.asarray(_named(name, arrays, "mh", "metallicity"), np.float64)
    stated = next((medium for medium in _MEDIA if f"wave_{medium}" in arrays), None)
    wave = np.asarray(_named(name, arrays, *(f"wave_{medium}" for medium in _MEDIA), *_UNSTATED_WAVES), np.float64)
    width: npt.NDArray[np.generic] | float | None = arrays.get("fwhm_angstrom", arrays.get("fwhm"))
    return _made(name, wave, flux, age_gyr, mh, _medium(name, stated, wavelengths_in), fwhm if width is None else width)


def _named(name: str, arrays: Mapping[str, npt.NDArray[np.generic]], *keys: str) -> npt.NDArray[np.generic]:
    for key in keys:
        if key in arrays:
            return arrays[key]
    raise GalbaseError(f"templates {name}: there is no array {' or '.join(keys)}; it holds {', '.join(arrays)}.")


def _medium(name: str, stated: str | None, wanted: str | None) -> str:
    if stated is not None and wanted is not None and stated != wanted:
        raise UsageError(f"templates {name}: the file says that its wavelengths are in {stated}, not in {wanted}.")
    medium = stated or wanted
    if medium is None:
        raise UsageError(
            f"templates {name}: the file does not say whether its wavelengths are in vacuum or in air, and 80 km/s lie "
            "between; give --template-wavelengths vacuum or air (MILES: air; MaStar: vacuum)."
        )
    return medium


def _made(
    name: str,
    wave: Floats,
    flux: Floats,
    age_gyr: Floats,
    mh: Floats,
    medium: str,
    fwhm: npt.NDArray[np.generic] | float | None,
) -> TemplateSet:
    if not (age_gyr > 0).all():
        raise GalbaseError(f"templates {name}: ages must be above 0 Gyr, found {age_gyr.min():g}.")
    level = float(np.median(flux))
    if not level > 0:
        raise GalbaseError(f"templates {name}: the median flux is {level:g}; fluxes above 0 are needed.")
    width = None if fwhm is None else np.broadcast_to(np.asarray(fwhm, np.float64), wave.shape).copy()
    if medium == "air":
        # The index of air varies too slowly over a resolution element to matter for its width.
        wave = vacuum(wave)
    return TemplateSet(name, wave, flux / level, np.log10(age_gyr) + 9, np.asarray(mh, np.float64), width)


def _read_folder(folder: Path, wavelengths_in: str | None, fwhm: float | None) -> TemplateSet:
    from astropy.io import fits

    found = [(path, match) for path in sorted(folder.glob("*.fits*")) if (match := _VAZDEKIS.search(path.name))]
    if not found:
        raise GalbaseError(f"templates {folder}: no FITS file there is named like Mun1.30Zm0.71T01.0000.fits.")
    rows, grids = [], []
    for path, _ in found:
        with fits.open(path) as hdus:
            header, data = hdus[0].header, hdus[0].data
            step = header.get("CDELT1", header.get("CD1_1"))
            if data is None or data.ndim != 1 or step is None or "CRVAL1" not in header:
                raise GalbaseError(f"{path} is no spectrum: one axis with CRVAL1 and CDELT1 [A] is needed.")
            if "LOG" in str(header.get("CTYPE1", "")).upper() or header.get("DC-FLAG", 0):
                raise GalbaseError(f"{path}: its wavelengths are logarithmic; linear ones, in A, are needed.")
            pixel = np.arange(len(data)) + 1 - float(header.get("CRPIX1", 1))
            grids.append(float(header["CRVAL1"]) + float(step) * pixel)
            rows.append(np.asarray(data, np.float64))
    if any(grid.shape != grids[0].shape or not np.allclose(grid, grids[0], rtol=1e-9) for grid in grids):
        raise GalbaseError(f"templates {folder}: the files have different wavelengths; one common grid is needed.")
    mh = np.array([float(match["mh"]) * (1 if match["sign"] == "p" else -1) for _, match in found])
    age = np.array([float(match["age"]) for _, match in found])
    wave = np.asarray(grids[0], np.float64)
    return _made(folder.name, wave, np.array(rows), age, mh, _medium(folder.name, None, wavelengths_in), fwhm)
