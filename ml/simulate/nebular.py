"""Nebular emission lines whose strengths follow star formation, gas metallicity, old stars and an active nucleus.

Halpha follows the star formation rate (Kennicutt 1998, ARA&A 36, 189, for a Chabrier initial mass function), the
Balmer decrement is case B (Osterbrock & Ferland 2006, 10^4 K). Of the metallicity x = 12+log(O/H) - 8.69:

- [N II] 6583/Halpha and [O III] 5007/Hbeta: Maiolino et al. 2008 (A&A 488, 463, eq. 1, table 4), taken as they are,
  their scale, Kewley & Dopita 2002, being the nearest to Tremonti's (Kewley & Ellison 2008, ApJ 681, 1183);
- [O II] 3727: what makes R23 = ([O II] + [O III] 4959 + 5007)/Hbeta that of Tremonti et al. 2004, eq. 1, so that
  their metallicity, measured on the lines, is the one drawn;
- [S II]/Halpha: Dopita et al. 2016 (Ap&SS 361, 61), whose scale we take to be 0.1 dex below Tremonti's.

Galaxies scatter about these by the spread of their excitation and nitrogen (Maiolino et al. 2008).

Two more sources shine where there are no young stars: hot evolved ones (Cid Fernandes et al. 2011, MNRAS 413, 1687:
Halpha equivalent widths of 0.5 to 2 A) with LINER ratios, and active nuclei with Seyfert ratios (both: typical values
of Kewley et al. 2006, MNRAS 372, 961).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# name as in SDSS spZline files, rest vacuum wavelength [A]
LINES = (
    ("[O_II] 3725", 3727.09),
    ("[O_II] 3727", 3729.88),
    ("H_gamma", 4341.68),
    ("H_beta", 4862.68),
    ("[O_III] 4959", 4960.30),
    ("[O_III] 5007", 5008.24),
    ("[N_II] 6548", 6549.86),
    ("H_alpha", 6564.61),
    ("[N_II] 6583", 6585.27),
    ("[S_II] 6716", 6718.29),
    ("[S_II] 6730", 6732.67),
)
LINE_WAVE = np.array([wave for _, wave in LINES], np.float64)
LINE_NAMES = tuple(name for name, _ in LINES)
OII_A, OII_B, H_GAMMA, H_BETA, OIII_A, OIII_B, NII_A, H_ALPHA, NII_B, SII_A, SII_B = range(11)

HALPHA_PER_SFR = 1.0 / 4.6e-42  # erg/s per Msun/yr
# Halpha of hot evolved stars: an equivalent width of 1 A against 1.1e29 erg/s/A per Msun of old stars
HALPHA_PER_OLD_MASS = 1.1e29  # erg/s per Msun formed more than a gigayear ago
DECREMENT = 2.86
_H_GAMMA_TO_BETA = 0.468
_N2 = (-0.7732, 1.2357, -0.2811, -0.7201, -0.3330)
_O3 = (0.1549, -1.5031, -0.9790, -0.0297)
_R23_TREMONTI = (9.185, -0.313, -0.264, -0.321)
OH_RANGE = (8.25, 9.30)
SOLAR_OH = 8.69
# [O II], [O III] 5007 over Hbeta; [N II] 6583, [S II] over Halpha
_LINER = (5.0, 2.0, 1.0, 0.9)
_SEYFERT = (3.0, 8.0, 0.9, 0.45)


def _polynomial(coefficients: tuple[float, ...], x: FloatArray) -> FloatArray:
    return np.asarray(np.polynomial.polynomial.polyval(x, coefficients), np.float64)


@lru_cache(maxsize=1)
def _r23_table() -> tuple[FloatArray, FloatArray]:
    log_r23 = np.linspace(-1.0, 1.2, 2201)
    metallicity = _polynomial(_R23_TREMONTI, log_r23)
    return metallicity[::-1], log_r23[::-1]


def tremonti_metallicity(r23: FloatArray) -> FloatArray:
    """12+log(O/H) of R23 = ([O II] 3727 + [O III] 4959, 5007)/Hbeta: Tremonti et al. 2004, eq. 1, upper branch."""
    return _polynomial(_R23_TREMONTI, np.log10(r23))


def _ratios(oii: FloatArray, oiii: FloatArray, nii: FloatArray, sii: FloatArray) -> FloatArray:
    """(..., n_line) relative to Halpha, from [O II] and [O III] 5007 over Hbeta, [N II] 6583 and [S II] over Halpha."""
    oii, oiii, nii, sii = np.broadcast_arrays(oii, oiii, nii, sii)
    one = np.ones_like(oiii)
    ratios: FloatArray = np.stack(
        [
            0.42 * oii / DECREMENT, 0.58 * oii / DECREMENT, _H_GAMMA_TO_BETA / DECREMENT * one, one / DECREMENT,
            oiii / 2.98 / DECREMENT, oiii / DECREMENT, nii / 3.05, one, nii, 0.57 * sii, 0.43 * sii,
        ],
        axis=-1,
    )  # fmt: skip
    return ratios


def star_forming_ratios(
    oh12: FloatArray, excitation: FloatArray | float = 0.0, nitrogen: FloatArray | float = 0.0
) -> FloatArray:
    """Intrinsic line luminosities of H II regions relative to Halpha.

    Parameters
    ----------
    oh12 : (...) float64
        12+log(O/H), Tremonti et al. 2004 scale, held to 8.25-9.30 where the calibrations are.
    excitation, nitrogen : (...) float64
        Offsets from the calibrations in log [O III]/Hbeta, at the expense of [O II], and in log [N II]/Halpha [dex].

    Returns
    -------
    (..., n_line) float64
    """
    oh12 = np.clip(oh12, *OH_RANGE)
    x = oh12 - SOLAR_OH
    n2 = _polynomial(_N2, x) + nitrogen
    r23 = 10 ** np.interp(oh12, *_r23_table())
    # most of the light stays with [O II], so that R23 keeps telling the metallicity
    oiii = np.minimum(10 ** (_polynomial(_O3, x) + excitation), 0.6 * r23)
    oii = r23 - (1 + 1 / 2.98) * oiii
    n2s2 = oh12 - 0.1 - 8.77 - 0.264 * (n2 - nitrogen)
    return _ratios(oii, oiii, 10**n2, 10 ** (n2 - nitrogen - n2s2))


def line_luminosities(
    sfr: FloatArray,
    oh12: FloatArray,
    old_mass: FloatArray,
    nucleus: FloatArray,
    excitation: FloatArray | float = 0.0,
    nitrogen: FloatArray | float = 0.0,
) -> FloatArray:
    """Intrinsic luminosities before dust.

    Parameters
    ----------
    sfr : (...) float64
        Star formation rate [Msun/yr].
    oh12 : (...) float64
        12+log(O/H), Tremonti et al. 2004 scale.
    old_mass : (...) float64
        Mass formed in stars older than 1 Gyr [Msun].
    nucleus : (...) float64
        Halpha of an active nucleus [erg/s].
    excitation, nitrogen : (...) float64
        See `star_forming_ratios`.

    Returns
    -------
    (..., n_line) float64
        [erg/s], in the order of `LINES`.
    """
    liner, seyfert = (_ratios(*(np.asarray(value) for value in kind)) for kind in (_LINER, _SEYFERT))
    luminosity: FloatArray = (
        (HALPHA_PER_SFR * sfr)[..., None] * star_forming_ratios(oh12, excitation, nitrogen)
        + (HALPHA_PER_OLD_MASS * old_mass)[..., None] * liner
        + np.asarray(nucleus)[..., None] * seyfert
    )
    return luminosity
