"""Legacy Survey objects in the survey's two data models, with the survey's own column names in lower case.

Units and meanings follow the published data model of the tractor and sweep catalogues
(https://www.legacysurvey.org/dr8/catalogs, https://www.legacysurvey.org/dr9/catalogs); the files carry none.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from galbase.schema.column import column
from galbase.schema.tables.base import metadata

BANDS = ("g", "r", "z")
WISE_BANDS = ("w1", "w2", "w3", "w4")
_EM = {
    "g": "em.opt.B",
    "r": "em.opt.R",
    "z": "em.opt.I",
    "w1": "em.IR.3-4um",
    "w2": "em.IR.4-8um",
    "w3": "em.IR.8-15um",
    "w4": "em.IR.15-30um",
}
Spec = tuple[str, Any, str | None, str | None, str]
REAL, SMALL, INT, BIG, TEXT, BOOL = sa.REAL, sa.SmallInteger, sa.Integer, sa.BigInteger, sa.Text, sa.Boolean


def _per_band(bands: tuple[str, ...], stem: str, type_: Any, unit: str | None, ucd: str | None, doc: str) -> list[Spec]:
    return [
        (f"{stem}_{band}", type_, unit, f"{ucd};{_EM[band]}" if ucd else None, f"{doc}, band {band}") for band in bands
    ]


def _shape(stem: str, what: str) -> list[Spec]:
    return [
        (f"{stem}_r", REAL, "arcsec", "phys.angSize", f"Half-light radius of the {what}"),
        (f"{stem}_e1", REAL, None, "src.ellipticity", f"Ellipticity component 1 of the {what}"),
        (f"{stem}_e2", REAL, None, "src.ellipticity", f"Ellipticity component 2 of the {what}"),
        (f"{stem}_r_ivar", REAL, "arcsec**-2", "stat.weight;phys.angSize", f"Inverse variance of {stem}_r"),
        (f"{stem}_e1_ivar", REAL, None, "stat.weight;src.ellipticity", f"Inverse variance of {stem}_e1"),
        (f"{stem}_e2_ivar", REAL, None, "stat.weight;src.ellipticity", f"Inverse variance of {stem}_e2"),
    ]


COMMON: list[Spec] = [
    ("release", INT, None, "meta.id", "Number of the processing that made the row (camera and version)"),
    ("brickid", INT, None, "meta.id", "Brick number"),
    ("brickname", TEXT, None, "meta.id", "Brick name"),
    ("objid", INT, None, "meta.id", "Object number within the brick and release"),
    ("type", TEXT, None, "src.class", "Morphological model: PSF, REX, EXP, DEV, COMP, SER or DUP"),
    ("ra_ivar", REAL, "deg**-2", "stat.weight;pos.eq.ra", "Inverse variance of ra"),
    ("dec_ivar", REAL, "deg**-2", "stat.weight;pos.eq.dec", "Inverse variance of dec"),
    (
        "dchisq",
        ARRAY(sa.REAL),
        None,
        "stat.fit.chi2",
        "Improvement of chi2 by each model, in order of complexity",
    ),
    ("ebv", REAL, "mag", "phot.color.excess", "Galactic reddening E(B-V) of the SFD98 map"),
    *_per_band(BANDS, "flux", REAL, "'nmgy'", "phot.flux.density", "Total flux of the model, not dereddened"),
    *_per_band(
        BANDS,
        "flux_ivar",
        REAL,
        "'nmgy'**-2",
        "stat.weight;phot.flux.density",
        "Inverse variance of the flux",
    ),
    *_per_band(BANDS, "mw_transmission", REAL, None, "phys.transmission", "Galactic transmission, 0 to 1"),
    *_per_band(
        BANDS,
        "fracflux",
        REAL,
        None,
        "phot.flux;arith.ratio",
        "Profile-weighted flux of other sources over own flux",
    ),
    *_per_band(
        BANDS,
        "fracmasked",
        REAL,
        None,
        "stat.value;arith.ratio",
        "Profile-weighted fraction of masked pixels",
    ),
    *_per_band(BANDS, "fracin", REAL, None, "stat.value;arith.ratio", "Fraction of the flux within the blob"),
    *_per_band(BANDS, "nobs", SMALL, None, "meta.number;obs", "Exposures over the central pixel"),
    *_per_band(BANDS, "psfdepth", REAL, "'nmgy'**-2", "stat.weight", "Inverse variance of a point source's flux"),
    *_per_band(
        BANDS,
        "galdepth",
        REAL,
        "'nmgy'**-2",
        "stat.weight",
        "Inverse variance of the flux of a 0.45 arcsec round EXP source",
    ),
    *_per_band(WISE_BANDS, "flux", REAL, "'nmgy'", "phot.flux.density", "WISE forced flux, AB"),
    *_per_band(
        WISE_BANDS,
        "flux_ivar",
        REAL,
        "'nmgy'**-2",
        "stat.weight;phot.flux.density",
        "Inverse variance of the WISE flux",
    ),
    *_per_band(WISE_BANDS, "mw_transmission", REAL, None, "phys.transmission", "Galactic transmission, 0 to 1"),
    *_per_band(
        BANDS,
        "allmask",
        SMALL,
        None,
        "meta.code.qual",
        "Mask bits set in all exposures over the central pixel",
    ),
    ("wisemask_w1", SMALL, None, "meta.code.qual", "W1 bright-star mask bits"),
    ("wisemask_w2", SMALL, None, "meta.code.qual", "W2 bright-star mask bits"),
    *_per_band(
        BANDS,
        "fiberflux",
        REAL,
        "'nmgy'",
        "phot.flux.density",
        "Flux of the object within a 1.5 arcsec diameter fibre in 1 arcsec seeing",
    ),
    *_per_band(
        BANDS,
        "fibertotflux",
        REAL,
        "'nmgy'",
        "phot.flux.density",
        "Flux of all sources within a 1.5 arcsec diameter fibre in 1 arcsec seeing",
    ),
    (
        "maskbits",
        INT,
        None,
        "meta.code.qual",
        "Bits: not primary, bright star, saturated, medium-bright star, galaxy, cluster",
    ),
    (
        "ref_cat",
        TEXT,
        None,
        "meta.id.cross",
        "Reference catalogue: G2 is Gaia, L3 the Siena Galaxy Atlas, T2 Tycho-2",
    ),
    ("ref_id", BIG, None, "meta.id.cross", "Id in the reference catalogue"),
    ("gaia_phot_g_mean_mag", REAL, "mag", "phot.mag;em.opt", "Gaia G magnitude, Vega"),
    ("gaia_phot_g_mean_flux_over_error", REAL, None, "stat.snr", "Gaia G flux over its error"),
    ("gaia_phot_bp_mean_mag", REAL, "mag", "phot.mag;em.opt.B", "Gaia BP magnitude, Vega"),
    ("gaia_phot_bp_mean_flux_over_error", REAL, None, "stat.snr", "Gaia BP flux over its error"),
    ("gaia_phot_rp_mean_mag", REAL, "mag", "phot.mag;em.opt.R", "Gaia RP magnitude, Vega"),
    ("gaia_phot_rp_mean_flux_over_error", REAL, None, "stat.snr", "Gaia RP flux over its error"),
    ("gaia_phot_bp_rp_excess_factor", REAL, None, "phot.flux;arith.ratio", "Gaia BP/RP excess factor"),
    ("gaia_astrometric_excess_noise", REAL, "mas", "stat.value", "Gaia astrometric excess noise"),
    ("gaia_duplicated_source", BOOL, None, "meta.code.qual", "Gaia duplicated source"),
    (
        "gaia_astrometric_sigma5d_max",
        REAL,
        "mas",
        "stat.error;pos",
        "Gaia longest semi-major axis of the 5-d error ellipsoid",
    ),
    (
        "gaia_astrometric_params_solved",
        SMALL,
        None,
        "meta.number",
        "Gaia astrometric parameters solved, bits",
    ),
    ("parallax", REAL, "mas", "pos.parallax", "Parallax of the reference catalogue"),
    ("parallax_ivar", REAL, "mas**-2", "stat.weight;pos.parallax", "Inverse variance of parallax"),
    ("pmra", REAL, "mas.yr**-1", "pos.pm;pos.eq.ra", "Proper motion in ra times cos(dec)"),
    ("pmra_ivar", REAL, "mas**-2.yr**2", "stat.weight;pos.pm", "Inverse variance of pmra"),
    ("pmdec", REAL, "mas.yr**-1", "pos.pm;pos.eq.dec", "Proper motion in dec"),
    ("pmdec_ivar", REAL, "mas**-2.yr**2", "stat.weight;pos.pm", "Inverse variance of pmdec"),
    (
        "photsys",
        TEXT,
        None,
        "instr",
        "N for the northern (BASS/MzLS), S for the southern (DECam) photometric system",
    ),
]

DR8_ONLY: list[Spec] = [
    ("fracdev", REAL, None, "stat.value;arith.ratio", "Fraction of the flux in the deVaucouleurs component"),
    ("fracdev_ivar", REAL, None, "stat.weight", "Inverse variance of fracdev"),
    *_shape("shapedev", "deVaucouleurs component"),
    *_shape("shapeexp", "exponential component"),
]

DR9_ONLY: list[Spec] = [
    *_shape("shape", "galaxy model"),
    ("sersic", REAL, None, "src.morph.param", "Sersic index (1 for REX and EXP, 4 for DEV)"),
    ("sersic_ivar", REAL, None, "stat.weight;src.morph.param", "Inverse variance of sersic"),
    *_per_band(BANDS, "psfsize", REAL, "arcsec", "instr.det.psf", "Weighted average PSF FWHM"),
    ("ref_epoch", REAL, "yr", "time.epoch", "Epoch of the reference catalogue"),
    ("fitbits", INT, None, "meta.code.qual", "Bits that describe the fit"),
    (
        "z_phot_mean",
        REAL,
        None,
        "src.redshift.phot;stat.mean",
        "Photometric redshift, mean of the distribution",
    ),
    (
        "z_phot_median",
        REAL,
        None,
        "src.redshift.phot;stat.median",
        "Photometric redshift, median of the distribution",
    ),
    (
        "z_phot_std",
        REAL,
        None,
        "stat.stdev;src.redshift.phot",
        "Standard deviation of the photometric redshift",
    ),
    (
        "z_phot_l68",
        REAL,
        None,
        "src.redshift.phot;stat.min",
        "Lower bound of the 68 % interval of the photometric redshift",
    ),
    (
        "z_phot_u68",
        REAL,
        None,
        "src.redshift.phot;stat.max",
        "Upper bound of the 68 % interval of the photometric redshift",
    ),
    (
        "z_phot_l95",
        REAL,
        None,
        "src.redshift.phot;stat.min",
        "Lower bound of the 95 % interval of the photometric redshift",
    ),
    (
        "z_phot_u95",
        REAL,
        None,
        "src.redshift.phot;stat.max",
        "Upper bound of the 95 % interval of the photometric redshift",
    ),
    ("z_spec", REAL, None, "src.redshift", "Spectroscopic redshift written in the file"),
]


def _object_table(name: str, specs: list[Spec], comment: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        column(
            "source_id",
            sa.BigInteger,
            sa.ForeignKey("archive.source.source_id", ondelete="CASCADE"),
            doc="Source of the row; ra and dec are in archive.source",
            ucd="meta.id;meta.main",
            primary_key=True,
            autoincrement=False,
        ),
        *[column(col, type_, doc=doc, unit=unit, ucd=ucd) for col, type_, unit, ucd, doc in specs],
        comment=comment,
    )


legacysurvey_dr8_object = _object_table(
    "legacysurvey_dr8_object",
    COMMON + DR8_ONLY,
    "Legacy Survey tractor or sweep rows, data model of DR8 and before (SHAPEDEV and SHAPEEXP)",
)
legacysurvey_dr9_object = _object_table(
    "legacysurvey_dr9_object",
    COMMON + DR9_ONLY,
    "Legacy Survey tractor or sweep rows, data model of DR9 and after (one shape and a Sersic index)",
)
