"""Stored spectra, written as PNG, FITS or CSV with the release's licence and citation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galbase.ingest.cutout import header_terms
from galbase.ingest.readers.sdss_spectrum import SpectrumPixels, read_spectrum_pixels
from galbase.ingest.stored_observation import StoredObservation, check_output
from galbase.schema.errors import GalbaseError

SUFFIXES = (".png", ".fits", ".csv")
FLUX_UNIT = "1e-17 erg / (Angstrom s cm2)"
COLUMNS = ("wave_angstrom", "flux", "ivar")


def write_spectrum(spectrum: StoredObservation, out: Path) -> int:
    """Write a spectrum: vacuum wavelength [Angstrom], flux [1e-17 erg/s/cm2/Angstrom] and its inverse variance.

    Parameters
    ----------
    spectrum : StoredObservation
        Of kind spectrum.
    out : Path
        File to write; the suffix is the format.

    Returns
    -------
    int
        Pixels written.

    Raises
    ------
    GalbaseError
        If the file cannot be read or written.
    """
    suffix = check_output(out, SUFFIXES)
    pixels = read_spectrum_pixels(spectrum.file)
    try:
        if suffix == ".fits":
            _write_fits(spectrum, pixels, out)
        elif suffix == ".csv":
            _write_csv(spectrum, pixels, out)
        else:
            _write_png(spectrum, pixels, out)
    except OSError as error:
        raise GalbaseError(f"{out} cannot be written: {error.strerror or error}.") from error
    return len(pixels.wave_angstrom)


def _write_fits(spectrum: StoredObservation, pixels: SpectrumPixels, out: Path) -> None:
    from astropy import units
    from astropy.io import fits

    flux = units.Unit(FLUX_UNIT)
    columns = [
        fits.Column(COLUMNS[0], "D", unit="Angstrom", array=pixels.wave_angstrom),
        fits.Column(COLUMNS[1], "D", unit=flux.to_string("fits"), array=pixels.flux),
        fits.Column(COLUMNS[2], "D", unit=(flux**-2).to_string("fits"), array=pixels.ivar),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["SRC_RA"] = (spectrum.ra, "[deg] position of the source, ICRS")
    table.header["SRC_DEC"] = (spectrum.dec, "[deg] position of the source, ICRS")
    table.header["VACUUM"] = (True, "wavelengths are in vacuum")
    if spectrum.z is not None:
        table.header["Z"] = (spectrum.z, "redshift")
    for key, value in header_terms(spectrum).items():
        table.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out, overwrite=True)


def _write_csv(spectrum: StoredObservation, pixels: SpectrumPixels, out: Path) -> None:
    lines = [f"# {key}: {value}".replace("\n", " ") for key, value in spectrum.terms().items()]
    lines += [f"# z: {spectrum.z}", f"# flux in {FLUX_UNIT}, ivar its inverse variance, wavelengths in vacuum"]
    lines.append(",".join(COLUMNS))
    values = (pixels.wave_angstrom.tolist(), pixels.flux.tolist(), pixels.ivar.tolist())
    lines += [",".join(map(repr, row)) for row in zip(*values, strict=True)]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_png(spectrum: StoredObservation, pixels: SpectrumPixels, out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    used = pixels.ivar > 0
    flux = np.where(used, pixels.flux, np.nan)
    axes.plot(pixels.wave_angstrom, flux, linewidth=0.6, color="black")
    low, high = np.percentile(pixels.flux[used], (0.5, 99.5))
    margin = 0.1 * max(high - low, np.finfo(np.float64).tiny)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("Vacuum wavelength [Angstrom]")
    axes.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Angstrom$^{-1}$]")
    redshift = "" if spectrum.z is None else f", z = {spectrum.z:.5f}"
    axes.set_title(f"{spectrum.release} {spectrum.native_id}{redshift}", parse_math=False)
    figure.savefig(out, format="png", dpi=120, metadata=dict(spectrum.terms()))
