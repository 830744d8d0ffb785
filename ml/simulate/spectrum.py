"""Spectra through a 3 arcsec fibre, written as SDSS spec files."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from galbase.ml.simulate.labels import FibreTruth, Targeting
from galbase.ml.simulate.photometry import Columns
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sed import (
    HALPHA_PER_SFR,
    LIGHT_SPEED_KM_S,
    LINES,
    LOG_WAVE,
    calzetti,
    comoving_distance,
    line_spectrum,
    population_spectra,
)

FloatArray = NDArray[np.float64]

# 3800-9200 A in steps of 1e-4 in log10, the grid of SDSS spectra
SPEC_LOG_WAVE = np.round(np.arange(35798, 39644) * 1e-4, 4)
RESOLUTION_KM_S = 69.0
_MEGAPARSEC_CM = 3.0856776e24
_FLUX_UNIT = 1e-17


def fibre_spectrum(index: int, population: Population, fibre: FibreTruth) -> FloatArray:
    """Noise-free spectrum of one galaxy through its fibre.

    Parameters
    ----------
    index : int
        Galaxy.
    population, fibre
        Stars, dust and star formation by component, and their shares inside the fibre.

    Returns
    -------
    (n_wave,) float64
        f_lambda [1e-17 erg/s/cm2/A] at `SPEC_LOG_WAVE` (vacuum, observed frame), without Galactic extinction.
    """
    z = population.z[index]
    luminosity = np.zeros(len(LOG_WAVE))
    for part in (0, 1):
        stars = population.population_mass[index, part] @ population_spectra()
        gas = population.component_sfr[index, part] * line_spectrum()
        dust = 10 ** (-0.4 * population.a_v[index, part] * calzetti(10**LOG_WAVE))
        luminosity += fibre.component_fraction[index, part] * (stars + gas) * dust
    # pixels are uniform in log wavelength, so one Gaussian does for stars' motion and instrument alike
    width_km_s = np.hypot(RESOLUTION_KM_S, _velocity_dispersion(population.log_mstar_tot[index]))
    sigma_px = width_km_s / LIGHT_SPEED_KM_S / np.log(10) / 1e-4
    reach = np.arange(-int(5 * sigma_px) - 1, int(5 * sigma_px) + 2)
    kernel = np.exp(-0.5 * (reach / sigma_px) ** 2)
    luminosity = np.convolve(luminosity, kernel / kernel.sum(), mode="same")
    distance = float(comoving_distance(np.array([z]))[0]) * (1 + z) * _MEGAPARSEC_CM
    rest = SPEC_LOG_WAVE - np.log10(1 + z)
    flux: FloatArray = np.interp(rest, LOG_WAVE, luminosity) / (4 * np.pi * distance**2 * (1 + z)) / _FLUX_UNIT
    return flux


def _velocity_dispersion(log_mass: float) -> float:
    """Faber-Jackson-like dispersion [km/s] for the stars in the fibre (Gallazzi et al. 2006, fig. 6)."""
    return float(np.clip(10 ** (2.25 + 0.29 * (log_mass - 11.0)), 50, 350))


def _line_table(
    plate: int, mjd: int, fiber: int, index: int, population: Population, fibre: FibreTruth
) -> fits.BinTableHDU:
    """SPZLINE extension: the lines' true positions and areas."""
    z = population.z[index]
    sfr = fibre.component_fraction[index] * population.component_sfr[index]
    distance = float(comoving_distance(np.array([z]))[0]) * (1 + z) * _MEGAPARSEC_CM
    name = np.array([line[0] for line in LINES])
    wave = np.array([line[1] for line in LINES])
    ratio = np.array([line[2] for line in LINES])
    dust = 10 ** (-0.4 * population.a_v[index][:, None] * calzetti(wave)[None, :])
    area = HALPHA_PER_SFR * ratio * (sfr[:, None] * dust).sum(axis=0) / (4 * np.pi * distance**2) / _FLUX_UNIT
    n = len(LINES)
    same = np.ones(n)
    return fits.BinTableHDU.from_columns(
        [
            fits.Column("PLATE", "J", array=same * plate),
            fits.Column("MJD", "J", array=same * mjd),
            fits.Column("FIBERID", "J", array=same * fiber),
            fits.Column("LINENAME", "13A", array=name),
            fits.Column("LINEWAVE", "D", array=wave),
            fits.Column("LINEZ", "E", array=same * z),
            fits.Column("LINEZ_ERR", "E", array=same * 1e-5),
            fits.Column("LINESIGMA", "E", array=same * 120.0),
            fits.Column("LINESIGMA_ERR", "E", array=same * 10.0),
            fits.Column("LINEAREA", "E", array=area),
            fits.Column("LINEAREA_ERR", "E", array=np.maximum(0.05 * area, 1.0)),
        ],
        name="SPZLINE",
    )


def _noise_shape(wave: FloatArray) -> FloatArray:
    """Relative noise against wavelength: the throughput falls at both ends, the night sky rises in the red."""
    blue = 1 + 1.6 * np.exp(-(wave - 3790) / 260)
    red = 1 + 0.5 * np.clip((wave - 7200) / 2000, 0, None)
    sky_line = 1.2 * np.exp(-0.5 * ((wave - 5578.5) / 4) ** 2)
    noise: FloatArray = (blue + sky_line) * red
    return noise


def write_spectra(
    folder: Path,
    population: Population,
    fibre: FibreTruth,
    targeting: Targeting,
    labels: Columns,
    n_spectra: int,
    seed: int,
) -> list[Path]:
    """Write spec-PPPP-MMMMM-FFFF.fits files of galaxies spread over the labelled sample.

    Parameters
    ----------
    folder : Path
        Where to write.
    population, fibre, targeting
        The survey.
    labels : dict of str to arrays
        Columns of the galSpec table; its S/N and redshifts are those of the spectra.
    n_spectra : int
        How many; at most all with a fibre.
    seed : int
        Seed of the noise.

    Returns
    -------
    list of Path
    """
    galaxy = np.flatnonzero(targeting.observed)
    galaxy = galaxy[np.argsort(targeting.specobjid[galaxy], kind="stable")]
    n_spectra = min(n_spectra, len(galaxy))
    # evenly spread over the table, which is in the order of the sky
    chosen = np.unique(np.linspace(0, len(galaxy) - 1, n_spectra).astype(np.int64))
    return [
        _write_one(folder, int(galaxy[row]), int(row), population, fibre, targeting, labels, seed) for row in chosen
    ]


def _write_one(
    folder: Path,
    index: int,
    row: int,
    population: Population,
    fibre: FibreTruth,
    targeting: Targeting,
    labels: Columns,
    seed: int,
) -> Path:
    rng = np.random.default_rng([seed, 10, index])
    wave = 10**SPEC_LOG_WAVE
    model = fibre_spectrum(index, population, fibre)
    signal_to_noise = float(labels["SN_MEDIAN"][row])
    in_r = (wave > 5660) & (wave < 7150)
    shape = _noise_shape(wave) * np.sqrt(0.5 + 0.5 * np.maximum(model, 0) / np.median(model[in_r]))
    sigma = shape * np.median(model[in_r]) / signal_to_noise / np.median(shape[in_r])
    flux = model + sigma * rng.standard_normal(len(model))
    bad = np.abs(wave - 5578.5) < 3
    plate, mjd, fiber = (int(v[index]) for v in (targeting.plate, targeting.mjd, targeting.fiberid))
    n = len(wave)
    sky = 4.0 * _noise_shape(wave)
    coadd = fits.BinTableHDU.from_columns(
        [
            fits.Column("flux", "E", array=flux),
            fits.Column("loglam", "E", array=SPEC_LOG_WAVE),
            fits.Column("ivar", "E", array=np.where(bad, 0, sigma**-2)),
            fits.Column("and_mask", "J", array=np.where(bad, 1 << 23, 0)),
            fits.Column("or_mask", "J", array=np.where(bad, 1 << 23, 0)),
            fits.Column("wdisp", "E", array=np.full(n, 1.0)),
            fits.Column("sky", "E", array=sky),
            fits.Column("model", "E", array=model),
        ],
        name="COADD",
    )
    ra, dec = float(targeting.ra[index]), float(targeting.dec[index])
    one = {
        "SURVEY": ("6A", "sdss"), "INSTRUMENT": ("4A", "SDSS"), "PLATEQUALITY": ("8A", "good"),
        "SPECOBJID": ("22A", f"{int(targeting.specobjid[index]):>22d}"), "RUN2D": ("3A", "26"),
        "PLATE": ("J", plate), "TILE": ("J", 0), "MJD": ("J", mjd), "FIBERID": ("J", fiber),
        "PLUG_RA": ("D", ra), "PLUG_DEC": ("D", dec), "CLASS": ("6A", "GALAXY"),
        "SUBCLASS": ("21A", labels["SUBCLASS"][row].decode()),
        "Z": ("E", labels["Z"][row]), "Z_ERR": ("E", labels["Z_ERR"][row]), "ZWARNING": ("J", labels["Z_WARNING"][row]),
        "SN_MEDIAN_ALL": ("E", float(np.median(model / sigma))), "WAVEMIN": ("E", wave[0]), "WAVEMAX": ("E", wave[-1]),
    }  # fmt: skip
    specobj = fits.BinTableHDU.from_columns(
        [fits.Column(name, code, array=np.array([value])) for name, (code, value) in one.items()], name="SPECOBJ"
    )
    primary = fits.PrimaryHDU()
    for key, value, comment in (
        ("PLUG_RA", ra, "RA of object [deg]"),
        ("PLUG_DEC", dec, "dec of object [deg]"),
        ("PLATEID", plate, "Plate Id"),
        ("MJD", mjd, "Modified Julian Date"),
        ("FIBERID", fiber, "Fiber Id"),
        ("COEFF0", float(SPEC_LOG_WAVE[0]), "Central wavelength (log10) of first pixel"),
        ("COEFF1", 1e-4, "Log10 dispersion per pixel"),
        ("BUNIT", "1E-17 erg/cm^2/s/Ang", "units of flux"),
        ("TELESCOP", "SIMULATED", "no telescope saw this"),
    ):
        primary.header[key] = (value, comment)
    path = folder / f"spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"
    lines = _line_table(plate, mjd, fiber, index, population, fibre)
    fits.HDUList([primary, coadd, specobj, lines]).writeto(path, overwrite=True)
    return path
