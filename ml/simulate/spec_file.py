"""SDSS spec files, written by the thousand: one file made by astropy is the mould of all others."""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from galbase.ml.simulate.nebular import LINE_NAMES, LINE_WAVE
from galbase.ml.simulate.spectrum import LINE_SIGMA_KM_S, SPEC_LOG_WAVE, Spectrum, noise_shape

FloatArray = NDArray[np.float64]

_BAD_SKY = 1 << 23
_COADD = (
    ("flux", "E"), ("loglam", "E"), ("ivar", "E"), ("and_mask", "J"), ("or_mask", "J"), ("wdisp", "E"), ("sky", "E"),
    ("model", "E"),
)  # fmt: skip
_SPECOBJ = (
    ("SURVEY", "6A"), ("INSTRUMENT", "4A"), ("PLATEQUALITY", "8A"), ("SPECOBJID", "22A"), ("RUN2D", "3A"),
    ("PLATE", "J"), ("TILE", "J"), ("MJD", "J"), ("FIBERID", "J"), ("PLUG_RA", "D"), ("PLUG_DEC", "D"), ("CLASS", "6A"),
    ("SUBCLASS", "21A"), ("Z", "E"), ("Z_ERR", "E"), ("ZWARNING", "J"), ("SN_MEDIAN_ALL", "E"), ("WAVEMIN", "E"),
    ("WAVEMAX", "E"),
)  # fmt: skip
_LINES = (
    ("PLATE", "J"), ("MJD", "J"), ("FIBERID", "J"), ("LINENAME", "13A"), ("LINEWAVE", "D"), ("LINEZ", "E"),
    ("LINEZ_ERR", "E"), ("LINESIGMA", "E"), ("LINESIGMA_ERR", "E"), ("LINEAREA", "E"), ("LINEAREA_ERR", "E"),
)  # fmt: skip
_CARDS = (
    ("PLUG_RA", 0.0, "RA of object [deg]"), ("PLUG_DEC", 0.0, "dec of object [deg]"), ("PLATEID", 0, "Plate Id"),
    ("MJD", 0, "Modified Julian Date"), ("FIBERID", 0, "Fiber Id"),
)  # fmt: skip


@dataclass(frozen=True)
class SpecHead:
    """What a spec file says of its object besides the spectrum.

    Attributes
    ----------
    specobjid, plate, mjd, fiberid : int
        Id and address.
    ra, dec : float
        Fibre position [deg].
    subclass : bytes
        SDSS subclass.
    z, z_err, z_true : float
        Redshift as measured, and the one that the lines have.
    z_warning : int
        0 is good.
    """

    specobjid: int
    plate: int
    mjd: int
    fiberid: int
    ra: float
    dec: float
    subclass: bytes
    z: float
    z_err: float
    z_warning: int
    z_true: float


@dataclass(frozen=True, eq=False)
class _Mould:
    """Bytes of a whole file, where its cards and tables lie, and the tables' records."""

    content: bytes
    card: dict[str, int]
    place: dict[str, int]
    record: dict[str, NDArray[Any]]


def _dtype(columns: tuple[tuple[str, str], ...]) -> np.dtype[Any]:
    kinds = {"E": ">f4", "D": ">f8", "J": ">i4"}
    return np.dtype([(name, kinds.get(code, f"S{code[:-1]}")) for name, code in columns])


@lru_cache(maxsize=1)
def _mould() -> _Mould:
    primary = fits.PrimaryHDU()
    for key, value, comment in (
        *_CARDS,
        ("COEFF0", float(SPEC_LOG_WAVE[0]), "Central wavelength (log10) of first pixel"),
        ("COEFF1", 1e-4, "Log10 dispersion per pixel"),
        ("BUNIT", "1E-17 erg/cm^2/s/Ang", "units of flux"),
        ("TELESCOP", "SIMULATED", "no telescope saw this"),
    ):
        primary.header[key] = (value, comment)
    wave = 10**SPEC_LOG_WAVE
    coadd = np.zeros(len(wave), _dtype(_COADD))
    coadd["loglam"], coadd["wdisp"], coadd["sky"] = SPEC_LOG_WAVE, 1.0, 4.0 * noise_shape(wave)
    head = np.zeros(1, _dtype(_SPECOBJ))
    texts = {"SURVEY": b"sdss", "INSTRUMENT": b"SDSS", "PLATEQUALITY": b"good", "RUN2D": b"26", "CLASS": b"GALAXY"}
    for name, text in texts.items():
        head[name] = text
    head["WAVEMIN"], head["WAVEMAX"] = wave[0], wave[-1]
    lines = np.zeros(len(LINE_WAVE), _dtype(_LINES))
    lines["LINENAME"], lines["LINEWAVE"] = np.array(LINE_NAMES, "S13"), LINE_WAVE
    lines["LINEZ_ERR"], lines["LINESIGMA"], lines["LINESIGMA_ERR"] = 1e-5, LINE_SIGMA_KM_S, 10.0
    record = {"COADD": coadd, "SPECOBJ": head, "SPZLINE": lines}
    hdus = fits.HDUList([primary])
    for (name, rows), columns in zip(record.items(), (_COADD, _SPECOBJ, _LINES), strict=True):
        made = [
            fits.Column(key, code, array=rows[key].astype(rows[key].dtype.newbyteorder("="))) for key, code in columns
        ]
        hdus.append(fits.BinTableHDU.from_columns(made, name=name))
    stream = io.BytesIO()
    hdus.writeto(stream)
    content = stream.getvalue()
    with fits.open(io.BytesIO(content)) as again:
        place = {name: int(again[name].fileinfo()["datLoc"]) for name in record}
    card = {key: content.index(f"{key:<8}=".encode()) for key, _, _ in _CARDS}
    return _Mould(content, card, place, record)


def spec_bytes(head: SpecHead, spectrum: Spectrum, line_area: FloatArray) -> bytes:
    """A whole spec-PLATE-MJD-FIBER.fits.

    Parameters
    ----------
    head : SpecHead
        Object.
    spectrum : Spectrum
        Pixels.
    line_area : (n_line,) float64
        True areas of `nebular.LINES` [1e-17 erg/s/cm2].
    """
    mould = _mould()
    content = bytearray(mould.content)
    values = (head.ra, head.dec, head.plate, head.mjd, head.fiberid)
    for (key, _, comment), value in zip(_CARDS, values, strict=True):
        image = fits.Card(key, value, comment).image.encode()
        content[mould.card[key] : mould.card[key] + len(image)] = image

    coadd = mould.record["COADD"].copy()
    coadd["flux"], coadd["ivar"], coadd["model"] = spectrum.flux, spectrum.ivar, spectrum.model
    coadd["and_mask"] = coadd["or_mask"] = np.where(spectrum.good, 0, _BAD_SKY)
    row = mould.record["SPECOBJ"].copy()
    row["SPECOBJID"] = f"{head.specobjid:>22d}".encode()
    row["SUBCLASS"], row["SN_MEDIAN_ALL"] = head.subclass, spectrum.signal_to_noise
    for name, value in (
        ("PLATE", head.plate), ("MJD", head.mjd), ("FIBERID", head.fiberid), ("PLUG_RA", head.ra),
        ("PLUG_DEC", head.dec), ("Z", head.z), ("Z_ERR", head.z_err), ("ZWARNING", head.z_warning),
    ):  # fmt: skip
        row[name] = value
    lines = mould.record["SPZLINE"].copy()
    lines["PLATE"], lines["MJD"], lines["FIBERID"], lines["LINEZ"] = head.plate, head.mjd, head.fiberid, head.z_true
    lines["LINEAREA"], lines["LINEAREA_ERR"] = line_area, np.maximum(0.05 * line_area, 1.0)
    for name, rows in (("COADD", coadd), ("SPECOBJ", row), ("SPZLINE", lines)):
        place = mould.place[name]
        content[place : place + rows.nbytes] = rows.tobytes()
    return bytes(content)


def spec_path(folder: Path, plate: int, mjd: int, fiberid: int) -> Path:
    """Name of a spec file as SDSS has it."""
    return folder / f"spec-{plate:04d}-{mjd:05d}-{fiberid:04d}.fits"
