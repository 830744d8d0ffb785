"""How spectra are fitted: options with the source of each number, and the record of a method."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from galbase.ml.labels.templates import SDSS_R_BAND, TemplateSet, band_range
from galbase.schema.errors import UsageError

# Raised by hand when the same spectrum and options give other labels.
ALGORITHM_VERSION = 1
LINES = ("fit", "mask")
CONTINUA = ("dust", "polynomial")
ESTIMATES = ("fit", "mean")


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    Parameters
    ----------
    realisations : int
        Fits of the spectrum with noise added, whose standard deviation is the intrinsic error: 100 in MMLforGalAM
        (section 4.3, eq. 12). With 0 there is no error.
    wave_min_angstrom, wave_max_angstrom : float
        Range of the spectrum, observed frame, vacuum: 3830 to 8000 in MMLforGalAM (section 2.2.1).
    band : str
        Band at rest whose light weighs the populations: ``sdss-r``, which the simulated survey's truth is weighted in
        (r being where SDSS quotes S/N), or LOW-HIGH [A]. MMLforGalAM states none; pPXF's examples take 5070-5950.
    lines : {'fit', 'mask'}
        Emission lines: Gaussians of one width and velocity with free fluxes, fitted together with the stars, or left
        out. MMLforGalAM does not say.
    line_mask_km_s : float
        Half-width of what is left out around each line; 800 in pPXF's `determine_mask`.
    continuum : {'dust', 'polynomial'}
        What makes up for reddening and flux calibration: a screen of Calzetti et al. (2000), whose A_V is fitted
        between 0 and 4, or a multiplicative Legendre polynomial. MMLforGalAM does not say.
    polynomial_degree : int
        Its degree; 10 is what pPXF's population examples use.
    start_dispersion_km_s : float
        Where the fit of the velocity dispersion starts: three pixels of SDSS, as pPXF's documentation advises.
    refit_kinematics : bool
        Fit velocities and dispersions of every realisation anew, as MMLforGalAM does, instead of holding the
        spectrum's own: 2.4 times the time for errors that are the same within 5 % (benchmarks/ppxf_labels.py).
    estimate : {'fit', 'mean'}
        What is given: the spectrum's own fit, as in MMLforGalAM, or the mean over the realisations, which scatters less
        (80 simulated spectra, 20 realisations: 0.091 against 0.105 dex in age, 0.113 against 0.129 in metallicity).
    seed : int
        Of the realisations' noise, together with the spectrum's file and row.
    """

    realisations: int = 100
    wave_min_angstrom: float = 3830.0
    wave_max_angstrom: float = 8000.0
    band: str = SDSS_R_BAND
    lines: str = "fit"
    line_mask_km_s: float = 800.0
    continuum: str = "dust"
    polynomial_degree: int = 10
    start_dispersion_km_s: float = 207.0
    refit_kinematics: bool = False
    estimate: str = "fit"
    seed: int = 1

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises
        ------
        UsageError
        """
        if self.realisations < 0 or self.realisations == 1:
            raise UsageError(f"{self.realisations} realisations have no spread; give 0 for no error, or at least 2.")
        if not 0 < self.wave_min_angstrom < self.wave_max_angstrom:
            raise UsageError(f"the range {self.wave_min_angstrom:g} to {self.wave_max_angstrom:g} A is empty.")
        if self.lines not in LINES:
            raise UsageError(f"lines {self.lines!r}: use {' or '.join(LINES)}.")
        if self.continuum not in CONTINUA:
            raise UsageError(f"continuum {self.continuum!r}: use {' or '.join(CONTINUA)}.")
        if self.estimate not in ESTIMATES:
            raise UsageError(f"estimate {self.estimate!r}: use {' or '.join(ESTIMATES)}.")
        if self.estimate == "mean" and not self.realisations:
            raise UsageError("a mean over no realisations is none; ask for realisations, or for estimate fit.")
        if self.polynomial_degree < 0 or self.line_mask_km_s < 0 or self.seed < 0:
            raise UsageError("the polynomial's degree, the width of line masks and the seed cannot be below 0.")
        if not 0 < self.start_dispersion_km_s < 1000:
            raise UsageError(f"a dispersion of {self.start_dispersion_km_s:g} km/s is no start; use 10 to 999.")
        if self.band != SDSS_R_BAND:
            band_range(self.band)

    def to_dict(self) -> dict[str, Any]:
        """Options as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FitOptions:
        """Options from plain values.

        Raises
        ------
        UsageError
            If one is unknown.
        """
        unknown = set(values) - {each.name for each in fields(cls)}
        if unknown:
            raise UsageError(f"there is no option {sorted(unknown)[0]!r} of a fit; install one galbase everywhere.")
        return cls(**values)


def method_record(templates: TemplateSet, options: FitOptions) -> dict[str, Any]:
    """What a run records of its method, of what JSON can hold."""
    width = templates.fwhm_angstrom
    return {
        "method": "pPXF",
        "algorithm_version": ALGORITHM_VERSION,
        "options": options.to_dict(),
        "templates": {
            "name": templates.name,
            "sha256": templates.digest,
            "n": len(templates.flux),
            "log_age": [float(templates.log_age.min()), float(templates.log_age.max())],
            "mh": [float(templates.mh.min()), float(templates.mh.max())],
            "wave_angstrom": [float(templates.wave_angstrom[0]), float(templates.wave_angstrom[-1])],
            "median_fwhm_angstrom": None if width is None else float(sorted(width)[len(width) // 2]),
        },
    }


def method_hash(templates: TemplateSet, options: FitOptions) -> str:
    """Hash of all that labels depend on besides the spectrum; package versions are recorded, not hashed."""
    text = json.dumps([ALGORITHM_VERSION, templates.digest, options.to_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
