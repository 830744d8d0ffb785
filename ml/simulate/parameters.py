"""Parameters of the simulated survey and where they come from.

They are published values, fixed before any network saw the data, and are written to `simulation.json`.
"""

from dataclasses import dataclass, replace

SIMULATION_VERSION = "2"


@dataclass(frozen=True)
class SurveyParameters:
    """What the simulated sky is made of. `REFERENCES` names the source of each group."""

    z_min: float = 0.01
    z_max: float = 0.25
    r_limit: float = 17.77
    r_bright: float = 13.5
    r_faint: float = 19.5
    faint_fraction: float = 0.10
    log_mass_min: float = 8.0
    log_mass_max: float = 12.0
    schechter_log_mass: float = 10.66
    schechter_phi: tuple[float, float] = (3.96e-3, 0.79e-3)
    schechter_alpha: tuple[float, float] = (-0.35, -1.47)
    quench_log_mass: float = 10.56
    quench_mass_slope: float = 0.80
    quench_log_density: float = 1.84
    quench_density_slope: float = 0.60
    quench_purity: float = 0.85
    main_sequence_slope: float = 0.76
    main_sequence_zero: float = -7.64
    main_sequence_scatter: float = 0.30
    quenched_log_ssfr: float = -11.9
    quenched_scatter: float = 0.35
    green_valley_fraction: float = 0.08
    metallicity_gradient: float = 0.15
    quenched_metallicity: float = -0.03
    quenched_metallicity_slope: float = 0.15
    quenched_metallicity_scatter: float = 0.6
    quenching_metallicity_correlation: float = 0.7
    dust_fading: float = 0.90
    excitation_scatter_dex: float = 0.10
    nitrogen_scatter_dex: float = 0.07
    agn_fraction: float = 0.15
    agn_log_mass_min: float = 10.2
    agn_log_halpha: float = 40.0
    agn_scatter: float = 0.5
    fibre_diameter_arcsec: float = 3.0
    fibre_seeing_arcsec: float = 1.4
    pixel_scale_arcsec: float = 0.262
    psf_fwhm_arcsec: tuple[float, float, float] = (1.45, 1.32, 1.25)
    psf_scatter_arcsec: float = 0.10
    psf_depth_ab: tuple[float, float, float] = (24.7, 24.0, 23.0)
    depth_scatter_mag: float = 0.15
    psf_beta: float = 3.5
    extinction: tuple[float, float, float] = (3.214, 2.165, 1.211)
    sdss_pixel_scale_arcsec: float = 0.396
    sdss_psf_fwhm_arcsec: tuple[float, float, float] = (1.44, 1.32, 1.26)
    sdss_psf_scatter_arcsec: float = 0.13
    sdss_psf_depth_ab: tuple[float, float, float] = (23.13, 22.70, 22.20)
    sdss_depth_scatter_mag: float = 0.12
    sdss_extinction: tuple[float, float, float] = (3.303, 2.285, 1.698)
    blend_fraction: float = 0.12
    blend_separation_fwhm: tuple[float, float] = (0.5, 4.0)
    blend_flux_ratio: tuple[float, float] = (0.05, 1.0)
    field_galaxies_per_arcmin2: float = 7.0
    field_stars_per_arcmin2: float = 1.5
    field_r_range: tuple[float, float] = (18.0, 23.2)
    field_count_slope: float = 0.38
    mass_label_error_dex: float = 0.09
    ssfr_label_error_dex: tuple[float, float] = (0.22, 0.40)
    oh_label_error_dex: float = 0.05
    log_age_error_dex: tuple[float, float] = (0.05, 0.09)
    mh_error_dex: tuple[float, float] = (0.05, 0.10)
    age_metallicity_correlation: float = -0.5
    labelled_fraction: float = 0.92
    fibre_position_scatter_arcsec: float = 0.1


def shifted(parameters: SurveyParameters) -> SurveyParameters:
    """The same sky seen by a worse telescope: 25 % wider PSFs with stronger wings, 0.5 mag shallower."""
    return replace(
        parameters,
        psf_fwhm_arcsec=_scaled(parameters.psf_fwhm_arcsec, 1.25),
        psf_depth_ab=_less(parameters.psf_depth_ab, 0.5),
        sdss_psf_fwhm_arcsec=_scaled(parameters.sdss_psf_fwhm_arcsec, 1.25),
        sdss_psf_depth_ab=_less(parameters.sdss_psf_depth_ab, 0.5),
        psf_beta=2.5,
    )


def _scaled(values: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return (values[0] * factor, values[1] * factor, values[2] * factor)


def _less(values: tuple[float, float, float], step: float) -> tuple[float, float, float]:
    return (values[0] - step, values[1] - step, values[2] - step)


REFERENCES = {
    "z, r_limit": "SDSS main galaxy sample, Strauss et al. 2002, AJ 124, 1810; a tail to r_faint at faint_fraction",
    "schechter": "galaxy stellar mass function, Baldry et al. 2012, MNRAS 421, 621",
    "quench": "quenched fraction with mass and density, Peng et al. 2010, ApJ 721, 193, eq. 3 and 7, table 2; "
    "a share of quench_purity of those red galaxies is dead, the others dusty (Masters et al. 2010, MNRAS 405, 783)",
    "main_sequence": "Renzini & Peng 2015, ApJ 801, L29, eq. 3",
    "quenched, green_valley": "Salim et al. 2007, ApJS 173, 267; Brinchmann et al. 2004, MNRAS 351, 1151",
    "sizes": "Shen et al. 2003, MNRAS 343, 978, eq. 17-19, table 1, with the 2007 erratum",
    "mass-metallicity": "Tremonti et al. 2004, ApJ 613, 898; SFR term as Mannucci et al. 2010, MNRAS 408, 2115",
    "lines": "Kennicutt 1998, ARA&A 36, 189; Tremonti et al. 2004, eq. 1; Maiolino et al. 2008, A&A 488, 463; Dopita "
    "et al. 2016, Ap&SS 361, 61; Cid Fernandes et al. 2011, MNRAS 413, 1687; Kewley et al. 2006, MNRAS 372, 961",
    "agn": "share and Halpha luminosities: Kauffmann et al. 2003, MNRAS 346, 1055; Hao et al. 2005, AJ 129, 1795",
    "populations": "Bruzual & Charlot 2003, MNRAS 344, 1000; Maraston et al. 2020, MNRAS 496, 2962 beyond 9250 A; mass "
    "loss: Leitner & Kravtsov 2011, ApJ 734, 48; gradients: Gonzalez Delgado et al. 2015, A&A 581, A103",
    "filters": "DECam: Flaugher et al. 2015, AJ 150, 150; SDSS: Doi et al. 2010, AJ 139, 1628",
    "stellar metallicity": "Gallazzi et al. 2005, MNRAS 362, 41, table 2; of dead galaxies: Gallazzi et al. 2006, "
    "MNRAS 370, 1106; Peng et al. 2015, Nature 521, 192",
    "attenuation": "Calzetti et al. 2000, ApJ 533, 682; with inclination after Maller et al. 2009, ApJ 691, 394",
    "psf, depth, extinction": "Legacy Surveys DR9; Dey et al. 2019, AJ 157, 168; Schlegel et al. 1998",
    "sdss_psf, sdss_depth, sdss_extinction": "York et al. 2000, AJ 120, 1579; Stoughton et al. 2002, AJ 123, 485; "
    "Schlafly & Finkbeiner 2011, ApJ 737, 103",
    "field": "number counts, Yasuda et al. 2001, AJ 122, 1104, normalised at r = 23",
    "blend": "separation and flux ratio log-uniform, our choice",
    "label errors": "MPA-JHU: Kauffmann et al. 2003, MNRAS 341, 33; Brinchmann et al. 2004; Tremonti et al. 2004",
    "log_age_error, mh_error": "spectral fits: Cid Fernandes et al. 2005, MNRAS 358, 363; Ge et al. 2018, "
    "MNRAS 478, 2633; anticorrelated by the age-metallicity degeneracy, Worthey 1994, ApJS 95, 107",
}
