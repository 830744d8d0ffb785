"""SDSS galaxies with the MPA-JHU galSpec value-added columns, under the catalogue's own names.

Names, units and meanings follow the SDSS tables galSpecInfo, galSpecExtra and galSpecIndx (Kauffmann et al. 2003,
MNRAS 341, 33; Brinchmann et al. 2004, MNRAS 351, 1151; Tremonti et al. 2004, ApJ 613, 898).
"""

from __future__ import annotations

import sqlalchemy as sa

from galbase.schema.column import column
from galbase.schema.tables.base import metadata

_PERCENTILES = ("avg", "entropy", "p2p5", "p16", "p50", "p84", "p97p5")
_DEX = "'dex'"


def _distribution(stem: str, unit: str | None, ucd: str, doc: str) -> list[sa.Column[object]]:
    names = {
        "avg": "mean",
        "entropy": "entropy",
        "p2p5": "2.5th percentile",
        "p16": "16th percentile",
        "p50": "median",
        "p84": "84th percentile",
        "p97p5": "97.5th percentile",
    }
    return [
        column(
            f"{stem}_{part}",
            sa.REAL,
            doc=f"{doc}: {names[part]} of the likelihood distribution",
            unit=None if part == "entropy" else unit,
            ucd="stat.likelihood" if part == "entropy" else ucd,
        )
        for part in _PERCENTILES
    ]


sdss_galaxy = sa.Table(
    "sdss_galaxy",
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
    column("specobjid", sa.Numeric(20), doc="SDSS specObjID, an unsigned 64-bit integer", ucd="meta.id"),
    column("plateid", sa.Integer, doc="Plate number", ucd="meta.id"),
    column("mjd", sa.Integer, doc="Modified Julian date of the plate's observation", unit="d", ucd="time.epoch"),
    column("fiberid", sa.Integer, doc="Fibre number", ucd="meta.id"),
    column("spectrotype", sa.Text, doc="Class of the spectrum: GALAXY, QSO or STAR", ucd="src.class"),
    column("subclass", sa.Text, doc="Subclass of the spectrum", ucd="src.class"),
    column(
        "reliable",
        sa.SmallInteger,
        doc="1 if line and physical parameters are reliable",
        ucd="meta.code.qual",
    ),
    column("z", sa.REAL, doc="Redshift", ucd="src.redshift"),
    column("z_err", sa.REAL, doc="Error of the redshift", ucd="stat.error;src.redshift"),
    column("z_warning", sa.Integer, doc="Bits of redshift warnings; 0 is good", ucd="meta.code.qual"),
    column("v_disp", sa.REAL, doc="Velocity dispersion", unit="km.s**-1", ucd="phys.veloc.dispersion"),
    column(
        "v_disp_err",
        sa.REAL,
        doc="Error of the velocity dispersion",
        unit="km.s**-1",
        ucd="stat.error;phys.veloc.dispersion",
    ),
    column(
        "sn_median",
        sa.REAL,
        doc="Median signal-to-noise ratio a pixel of the spectrum, r band",
        ucd="stat.snr",
    ),
    column(
        "e_bv_sfd",
        sa.REAL,
        doc="Galactic reddening E(B-V) of the SFD98 map",
        unit="mag",
        ucd="phot.color.excess",
    ),
    column("release", sa.Text, doc="SDSS release the spectrum was reduced with", ucd="meta.id"),
    column(
        "bptclass",
        sa.SmallInteger,
        doc="Emission-line class: -1 unclassifiable, 1 star forming, 2 low S/N star "
        "forming, 3 composite, 4 AGN, 5 low S/N LINER",
        ucd="src.class",
    ),
    *_distribution("oh", _DEX, "phys.abund.Z", "12+log10(O/H), Tremonti et al. 2004 scale"),
    *_distribution("lgm_tot", _DEX, "phys.mass", "log10 of stellar mass [solMass], total photometry"),
    *_distribution("lgm_fib", _DEX, "phys.mass", "log10 of stellar mass [solMass] within the 3 arcsec fibre"),
    *_distribution("sfr_tot", _DEX, "phys.SFR", "log10 of star formation rate [solMass/yr], total"),
    *_distribution("sfr_fib", _DEX, "phys.SFR", "log10 of star formation rate [solMass/yr] within the 3 arcsec fibre"),
    *_distribution("specsfr_tot", _DEX, "phys.SFR", "log10 of specific star formation rate [1/yr], total"),
    *_distribution(
        "specsfr_fib",
        _DEX,
        "phys.SFR",
        "log10 of specific star formation rate [1/yr] within the 3 arcsec fibre",
    ),
    column(
        "d4000_n",
        sa.REAL,
        doc="4000 Angstrom break, narrow definition (Balogh et al. 1999)",
        ucd="spect.index",
    ),
    column("d4000_n_err", sa.REAL, doc="Error of d4000_n", ucd="stat.error;spect.index"),
    sa.Index("ix_sdss_galaxy_specobjid", "specobjid"),
    comment="SDSS spectroscopic galaxies with MPA-JHU masses, star formation rates and abundances",
)
