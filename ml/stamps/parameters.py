"""What Sersic stamps are drawn from.

The text of the method (GaLNet: 61x61 stamps, 25x25 PSFs, 160,000/20,000/20,000 galaxies of S/N above 50) comes
without its table of ranges. The ranges here are ours: they hold what a 61 px stamp can hold, and S/N is drawn
instead of magnitude, so that one set of ranges serves any survey's depth.
"""

from __future__ import annotations

from dataclasses import dataclass

from galbase.ml.simulate.sersic import N_MAX, N_MIN
from galbase.schema.errors import GalbaseError

STAMP_VERSION = "1"
STAMP_PX = 61
PSF_PX = 25
# an image of a galaxy's next copy in the Fourier box must end before the stamp begins; see render.py
RE_PX_MAX = 28.0
SPLITS = ("train", "validation", "test")
SPLIT_SHARE = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class StampParameters:
    """Ranges and instrument.

    Attributes
    ----------
    snr : (low, high)
        S/N of the stamp, log-uniform: sqrt(sum model^2 / variance), what an optimal fit of the flux alone reaches.
    mag : (low, high), optional
        Total AB magnitude, uniform; given, it replaces the draw of S/N.
    re_px : (low, high)
        Sersic scale radius along the major axis [px], log-uniform.
    n : (low, high)
        Sersic index, log-uniform.
    q : (low, high)
        Axis ratio, uniform.
    offset_px : float
        Largest offset of the centre in x and in y [px], uniform.
    pixel_scale_arcsec : float
        Pixel scale [arcsec].
    zero_point : float
        AB magnitude of one image unit.
    gain : float
        Electrons in one image unit.
    sky_sigma : float
        Standard deviation of single pixels of simulated backgrounds [image unit].
    sky_sigma_scatter_mag : float
        Its scatter from stamp to stamp [mag].
    psf_fwhm_arcsec, psf_fwhm_scatter_arcsec : float
        FWHM of simulated PSFs, mean and scatter [arcsec].
    psf_beta : (low, high)
        Exponent of simulated Moffat PSFs, uniform.
    psf_ellipticity_max : float
        Largest 1 - b/a of simulated PSFs, uniform.
    """

    snr: tuple[float, float] = (20.0, 500.0)
    mag: tuple[float, float] | None = None
    re_px: tuple[float, float] = (1.0, 12.0)
    n: tuple[float, float] = (0.5, 6.0)
    q: tuple[float, float] = (0.2, 1.0)
    offset_px: float = 1.0
    pixel_scale_arcsec: float = 0.262
    zero_point: float = 22.5
    gain: float = 6000.0
    sky_sigma: float = 0.0061
    sky_sigma_scatter_mag: float = 0.15
    psf_fwhm_arcsec: float = 1.32
    psf_fwhm_scatter_arcsec: float = 0.10
    psf_beta: tuple[float, float] = (2.5, 4.5)
    psf_ellipticity_max: float = 0.1

    def __post_init__(self) -> None:
        """Check every range; see Raises.

        Raises
        ------
        GalbaseError
            If a range is empty or cannot be drawn.
        """
        limits = {
            "S/N": (self.snr, 0.1, 1e5),
            "Re": (self.re_px, 0.2, RE_PX_MAX),
            "Sersic index": (self.n, N_MIN, N_MAX),
            "axis ratio": (self.q, 0.05, 1.0),
            "PSF beta": (self.psf_beta, 1.5, 10.0),
        }
        if self.mag is not None:
            limits["magnitude"] = (self.mag, -5.0, 40.0)
        for name, ((low, high), least, most) in limits.items():
            if not least <= low <= high <= most:
                unit = " px" if name == "Re" else ""
                raise GalbaseError(
                    f"the range of {name}, {low:g} to {high:g}{unit}, must rise and lie within {least:g} to "
                    f"{most:g}{unit}."
                )
        positive = ("pixel_scale_arcsec", "gain", "sky_sigma", "psf_fwhm_arcsec")
        for name in positive:
            if not getattr(self, name) > 0:
                raise GalbaseError(f"{name} is {getattr(self, name):g}; it must be positive.")
        if not 0 <= self.offset_px <= 10 or not 0 <= self.psf_ellipticity_max < 0.9:
            raise GalbaseError(
                f"offset_px {self.offset_px:g} must lie in 0 to 10, psf_ellipticity_max {self.psf_ellipticity_max:g} "
                "in 0 to 0.9."
            )


REFERENCES = {
    "stamp, PSF and set sizes": "GaLNet; after Li et al. 2022, ApJ 929, 152",
    "pixel_scale, zero_point, PSF, sky_sigma": "Legacy Surveys r (Dey et al. 2019, AJ 157, 168): 5 sigma PSF depth "
    "24.0 at FWHM 1.32 arcsec; a resampled coadd keeps 0.89 of the noise in a single pixel",
    "gain": "photons of a dark sky of 20.9 mag/arcsec2 in r that make that noise",
    "ranges of S/N, Re, n, q, offset": "ours",
}
