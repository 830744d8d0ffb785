"""Images, spectra, and what preprocessing says of them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from galbase.schema.column import column
from galbase.schema.tables.base import identity, metadata, now_column, one_of, reference

observation = sa.Table(
    "observation",
    metadata,
    identity("observation_id", "Number of the observation"),
    column("kind", sa.Text, doc="image or spectrum", nullable=False),
    column(
        "source_id",
        sa.BigInteger,
        sa.ForeignKey("archive.source.source_id", ondelete="SET NULL"),
        doc="Source at its position; NULL where no position is known",
        ucd="meta.id",
    ),
    reference("release_id", "data_release.release_id", "Release of the observation", nullable=False),
    reference("data_file_id", "data_file.data_file_id", "File that holds it", nullable=False),
    column("row_index", sa.BigInteger, doc="Row in the file, counted from 0", nullable=False, server_default="0"),
    column("pixel_hash", sa.Text, doc="Hash of its pixels, written when preprocessing first reads them"),
    column(
        "flag",
        sa.BigInteger,
        doc="Bits of registry 'observation' in flag_definition",
        ucd="meta.code",
        nullable=False,
        server_default="0",
    ),
    now_column("modified_at", "When this row was last written"),
    sa.UniqueConstraint("data_file_id", "row_index"),
    sa.Index("ix_observation_source_id", "source_id"),
    sa.Index("ix_observation_release_id", "release_id", "kind"),
    one_of("kind", ("image", "spectrum")),
    comment="An image or a spectrum; its pixels stay in its file",
)

image = sa.Table(
    "image",
    metadata,
    reference(
        "observation_id",
        "observation.observation_id",
        "The observation",
        ondelete="CASCADE",
        primary_key=True,
    ),
    column(
        "bands",
        ARRAY(sa.Text),
        doc="Bands in the order of the file's planes",
        ucd="instr.bandpass",
        nullable=False,
    ),
    column(
        "pixel_scale_arcsec",
        sa.Double,
        doc="Size of a pixel; NULL where it is not known",
        unit="arcsec.pixel**-1",
        ucd="instr.scale;instr.pixel",
    ),
    column("width", sa.Integer, doc="Columns of pixels", unit="pixel", nullable=False),
    column("height", sa.Integer, doc="Rows of pixels", unit="pixel", nullable=False),
    column("is_display", sa.Boolean, doc="Display colours instead of calibrated fluxes", nullable=False),
    column(
        "psf_fwhm_arcsec",
        ARRAY(sa.REAL),
        doc="FWHM of the PSF in each band",
        unit="arcsec",
        ucd="instr.det.psf",
    ),
    column(
        "psf_depth",
        ARRAY(sa.REAL),
        doc="Inverse variance of a point source's flux in each band",
        unit="'nmgy'**-2",
        ucd="stat.weight",
    ),
    comment="Details of images",
)

spectrum = sa.Table(
    "spectrum",
    metadata,
    reference(
        "observation_id",
        "observation.observation_id",
        "The observation",
        ondelete="CASCADE",
        primary_key=True,
    ),
    column(
        "wave_min_angstrom",
        sa.Double,
        doc="Least wavelength, vacuum",
        unit="Angstrom",
        ucd="em.wl;stat.min",
        nullable=False,
    ),
    column(
        "wave_max_angstrom",
        sa.Double,
        doc="Greatest wavelength, vacuum",
        unit="Angstrom",
        ucd="em.wl;stat.max",
        nullable=False,
    ),
    column("n_pixel", sa.Integer, doc="Pixels of the spectrum", nullable=False),
    column("z", sa.Double, doc="Redshift", ucd="src.redshift"),
    column("z_err", sa.Double, doc="Error of the redshift", ucd="stat.error;src.redshift"),
    column("z_warning", sa.Integer, doc="Bits of redshift warnings; 0 is good", ucd="meta.code.qual"),
    column("spectral_class", sa.Text, doc="Class of the spectrum", ucd="src.class"),
    column("spectral_subclass", sa.Text, doc="Subclass of the spectrum", ucd="src.class"),
    column("sn_median", sa.REAL, doc="Median signal-to-noise ratio a pixel", ucd="stat.snr"),
    column("specobjid", sa.Numeric(20), doc="SDSS specObjID", ucd="meta.id"),
    comment="Details of spectra",
)

preprocess_config = sa.Table(
    "preprocess_config",
    metadata,
    identity("preprocess_config_id", "Number of the configuration"),
    column("name", sa.Text, doc="Preset it started from", nullable=False),
    column("hash", sa.Text, doc="Hash of all parameters", nullable=False, unique=True),
    column("parameters", JSONB, doc="All parameters", nullable=False),
    now_column("created_at", "When it was first used"),
    comment="Preprocessing configurations; a changed parameter is a new row",
)

preprocess = sa.Table(
    "preprocess",
    metadata,
    reference("observation_id", "observation.observation_id", "Image", ondelete="CASCADE", primary_key=True),
    reference("preprocess_config_id", "preprocess_config.preprocess_config_id", "Configuration", primary_key=True),
    column(
        "flag",
        sa.BigInteger,
        doc="Bits of registry 'preprocess' in flag_definition",
        ucd="meta.code",
        nullable=False,
    ),
    column("kept", sa.Boolean, doc="Whether the method keeps the image", nullable=False),
    column(
        "ellipse_x",
        sa.Double,
        doc="Centre of the target's ellipse before enlargement, pixels from the image's first column",
        unit="pixel",
        ucd="pos.cartesian.x;instr.det",
    ),
    column(
        "ellipse_y",
        sa.Double,
        doc="Centre of the target's ellipse, pixels from the image's first row",
        unit="pixel",
        ucd="pos.cartesian.y;instr.det",
    ),
    column(
        "ellipse_a",
        sa.Double,
        doc="Semi-major axis of the target's ellipse",
        unit="pixel",
        ucd="phys.angSize.smajAxis",
    ),
    column(
        "ellipse_b",
        sa.Double,
        doc="Semi-minor axis of the target's ellipse",
        unit="pixel",
        ucd="phys.angSize.sminAxis",
    ),
    column(
        "ellipse_theta",
        sa.Double,
        doc="Angle of the major axis from the x axis towards the y axis",
        unit="deg",
        ucd="pos.posAng",
    ),
    column("radius_px", sa.Double, doc="Radius of the minimum enclosing circle", unit="pixel", ucd="phys.angSize"),
    column(
        "radius_arcsec",
        sa.Double,
        doc="Radius of the minimum enclosing circle; NULL where the pixel scale is unknown",
        unit="arcsec",
        ucd="phys.angSize",
    ),
    column(
        "threshold",
        sa.Double,
        doc="Threshold of the grey image, 0 to 255; method improved on fluxes: of the added bands, nanomaggies a pixel",
        ucd="stat.value",
    ),
    column("n_contour", sa.Integer, doc="Contours found; method improved: regions detected", ucd="meta.number"),
    column("n_source", sa.Integer, doc="Sources after deblending", ucd="meta.number"),
    column(
        "n_region",
        sa.Integer,
        doc="Connected regions at the second threshold; NULL of method improved",
        ucd="meta.number",
    ),
    column(
        "background_rms",
        sa.Double,
        doc="Background rms used in the detection, in the unit of threshold",
        ucd="stat.stdev;instr.background",
    ),
    column(
        "blend_score",
        sa.Double,
        doc="Evidence of another source within the target: light that its other side lacks, in roots of S/N; of method "
        "improved only",
        ucd="stat.value",
    ),
    column("input_hash", sa.Text, doc="Hash of pixels, configuration and algorithm version", nullable=False),
    now_column("modified_at", "When this row was last written"),
    sa.Index("ix_preprocess_config", "preprocess_config_id", "kept"),
    comment="Verdict of preprocessing on each image",
)

stamp_file = sa.Table(
    "stamp_file",
    metadata,
    identity("stamp_file_id", "Number of the cached file"),
    reference("preprocess_config_id", "preprocess_config.preprocess_config_id", "Configuration", nullable=False),
    reference(
        "data_file_id",
        "data_file.data_file_id",
        "File the stamps were cut from",
        nullable=False,
        ondelete="CASCADE",
    ),
    column("row_start", sa.BigInteger, doc="First row of the file", nullable=False),
    column("row_stop", sa.BigInteger, doc="Row after the last", nullable=False),
    column("path", sa.Text, doc="Path of the cached file under the archive's cache folder", nullable=False),
    column("content_hash", sa.Text, doc="SHA-256 of the file's bytes, hexadecimal", nullable=False),
    column("size_bytes", sa.BigInteger, doc="Size of the cached file", unit="byte", nullable=False),
    column(
        "n_stamp",
        sa.BigInteger,
        doc="Stamps in it that belonged to current verdicts when it was written",
        nullable=False,
        server_default="0",
    ),
    now_column("created_at", "When it was written"),
    sa.UniqueConstraint("preprocess_config_id", "data_file_id", "row_start"),
    comment="Files of the cache of preprocessed stamps; any of them may be gone",
)
