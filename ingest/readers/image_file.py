"""What the readers of images hand over: everything the archive keeps of one file, without its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ImageFile:
    """The images of one file, one a row.

    Parameters
    ----------
    ra, dec : (n,) float64
        Positions, ICRS, degrees; NaN where the file tells none.
    bands : tuple of str
        Band of each plane in the file's order.
    pixel_scale_arcsec : float or None
        None where the file does not tell.
    width, height : int
        Pixels; of the first image where `sizes` is given.
    is_display : bool
        Display colours instead of fluxes.
    native_ids : sequence of str, optional
        The survey's own ids; None where the file has none.
    psf_fwhm_arcsec, psf_depth : (n, n_band) float32, optional
        FWHM of the PSF, and inverse variance of a point source's flux [nmgy**-2].
    survey_columns : mapping of str to (n,) array
        Catalogue columns named as in table ``legacysurvey_dr9_object``. NaN is a missing value.
    extra_columns : mapping of str to (n,) or (n, k) array
        Catalogue columns that no table names.
    non_finite : (n,) bool, optional
        Rows with an infinite measurement, which is NaN in the columns here.
    rejected : sequence of (row, native id or None, reason)
        Rows that cannot be loaded.
    sizes : (n, 2) int64, optional
        Width and height of each image, where they differ.
    flags : (n,) int64, optional
        Bits of registry 'observation' that the file itself tells.
    """

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    width: int
    height: int
    is_display: bool
    native_ids: Sequence[str] | None = None
    psf_fwhm_arcsec: npt.NDArray[np.float32] | None = None
    psf_depth: npt.NDArray[np.float32] | None = None
    survey_columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    extra_columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    non_finite: npt.NDArray[np.bool_] | None = None
    rejected: Sequence[tuple[int, str | None, str]] = ()
    sizes: npt.NDArray[np.int64] | None = None
    flags: npt.NDArray[np.int64] | None = None

    @property
    def n_row(self) -> int:
        """Images in the file, rejected ones included."""
        return len(self.ra)


UNKNOWN: npt.NDArray[np.float64] = np.full(1, np.nan)
