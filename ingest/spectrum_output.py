"""Stored spectra, written as PNG, FITS or CSV with the release's licence and citation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galbase.ingest.cutout import header_terms
from galbase.ingest.readers.spectra import read_pixels
from galbase.ingest.readers.spectrum_file import SpectrumPixels
from galbase.ingest.stored_observation import StoredObservation, check_output
from galbase.schema.errors import GalbaseError

SUFFIXES = (".png", ".fits", ".csv")
COLUMNS = ("wave_angstrom", "flux", "ivar")


def write_spectrum(spectrum: StoredObservation, out: Path) -> int:
    """Write a spectrum: wavelength [Angstrom], flux in its file's unit, and the flux's inverse variance.

    Wavelengths are as the file has them; keyword VACUUM, the comment of a CSV file and the axis of a plot say whether
    they are those in vacuum or in air. The arms of a DESI spectrum are put together.

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
    pixels = read_pixels(spectrum.file, spectrum.format, spectrum.row_index, spectrum.wave_min_angstrom or 1.0)
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
    from astropy.io import fits

    flux_unit, ivar_unit = _units(pixels.flux_unit)
    columns = [
        fits.Column(COLUMNS[0], "D", unit="Angstrom", array=pixels.wave_angstrom),
        fits.Column(COLUMNS[1], "D", unit=flux_unit, array=pixels.flux),
        fits.Column(COLUMNS[2], "D", unit=ivar_unit, array=pixels.ivar),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["SRC_RA"] = (spectrum.ra, "[deg] position of the source, ICRS")
    table.header["SRC_DEC"] = (spectrum.dec, "[deg] position of the source, ICRS")
    table.header["VACUUM"] = (pixels.is_vacuum, "whether wavelengths are in vacuum, not air")
    if spectrum.z is not None:
        table.header["Z"] = (spectrum.z, "redshift")
    for key, value in header_terms(spectrum).items():
        table.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out, overwrite=True)


def _units(text: str | None) -> tuple[str | None, str | None]:
    """Units of flux and inverse variance as FITS writes them; as in the file where they are no unit that is known."""
    from astropy import units

    if text is None:
        return None, None
    try:
        unit = units.Unit(text)
        return unit.to_string("fits"), (unit**-2).to_string("fits")
    except (ValueError, TypeError):
        return text, f"({text})-2"


def _medium(pixels: SpectrumPixels) -> str:
    return "vacuum" if pixels.is_vacuum else "air"


def _write_csv(spectrum: StoredObservation, pixels: SpectrumPixels, out: Path) -> None:
    lines = [f"# {key}: {value}".replace("\n", " ") for key, value in spectrum.terms().items()]
    unit, medium = pixels.flux_unit or "a unit that the file does not state", _medium(pixels)
    lines += [f"# z: {spectrum.z}", f"# flux in {unit}, ivar its inverse variance, wavelengths in {medium}"]
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
    axes.set_xlabel(f"{_medium(pixels).capitalize()} wavelength [Angstrom]")
    axes.set_ylabel(f"Flux [{pixels.flux_unit or 'unit not stated'}]", parse_math=False)
    redshift = "" if spectrum.z is None else f", z = {spectrum.z:.5f}"
    axes.set_title(f"{spectrum.release} {spectrum.native_id}{redshift}", parse_math=False)
    figure.savefig(out, format="png", dpi=120, metadata=dict(spectrum.terms()))
