"""Properties, labels, training sets, models, predictions and embeddings."""

from __future__ import annotations

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import JSONB

from galbase.schema.column import column
from galbase.schema.tables.base import identity, metadata, now_column, one_of, reference

property_ = sa.Table(
    "property",
    metadata,
    identity("property_id", "Number of the property"),
    column("name", sa.Text, doc="Name, as in columns and commands", nullable=False, unique=True),
    column("unit", sa.Text, doc="Unit", ucd="meta.unit"),
    column("ucd", sa.Text, doc="UCD1+", ucd="meta.ucd"),
    column("aperture", sa.Text, doc="Aperture it is measured in: fibre, total or model"),
    column("description", sa.Text, doc="What it is", nullable=False),
    comment="Physical properties that labels and predictions speak of",
)

reference_value = sa.Table(
    "reference_value",
    metadata,
    reference("source_id", "source.source_id", "Source the label belongs to", ondelete="CASCADE", primary_key=True),
    reference("property_id", "property.property_id", "Property", primary_key=True),
    column("origin", sa.Text, doc="Catalogue or method of the label: mpa-jhu, simulation-truth", primary_key=True),
    column("value", sa.Double, doc="Value, in the property's unit", nullable=False),
    column("err", sa.Double, doc="One sigma, in the property's unit", ucd="stat.error"),
    column("q16", sa.Double, doc="16th percentile, in the property's unit"),
    column("q84", sa.Double, doc="84th percentile, in the property's unit"),
    reference("data_file_id", "data_file.data_file_id", "File of labels it came from; NULL for a catalogue's"),
    sa.Index("ix_reference_value_data_file_id", "data_file_id", postgresql_where=sa.text("data_file_id IS NOT NULL")),
    sa.CheckConstraint("value <> 'NaN' AND abs(value) < 'Infinity'", name="value"),
    comment="Labels with their origin",
)

label_origin = sa.Table(
    "label_origin",
    metadata,
    column("origin", sa.Text, doc="Catalogue or method of labels", ucd="meta.id", primary_key=True),
    column(
        "evaluation_only",
        sa.Boolean,
        doc="Whether its labels are for evaluation, and in a selection only where it is asked for by name",
        nullable=False,
    ),
    now_column("created_at", "When its first labels were loaded"),
    comment="Origins of labels",
)

label_fit = sa.Table(
    "label_fit",
    metadata,
    reference("observation_id", "observation.observation_id", "Spectrum", ondelete="CASCADE", primary_key=True),
    column(
        "origin",
        sa.Text,
        sa.ForeignKey("archive.label_origin.origin"),
        doc="Origin of the labels that the fit gives",
        ucd="meta.id",
        primary_key=True,
    ),
    column("log_age", sa.Double, doc="log10 of luminosity-weighted age [yr]", unit="'dex'", ucd="time.age"),
    column(
        "log_age_err",
        sa.Double,
        doc="One sigma: spread over noise realisations; NULL where there were none",
        unit="'dex'",
        ucd="stat.error;time.age",
    ),
    column("mh", sa.Double, doc="Luminosity-weighted metallicity [M/H]", unit="'dex'", ucd="phys.abund.Z"),
    column(
        "mh_err",
        sa.Double,
        doc="One sigma: spread over noise realisations; NULL where there were none",
        unit="'dex'",
        ucd="stat.error;phys.abund.Z",
    ),
    column("chi2", sa.Double, doc="Reduced chi squared", ucd="stat.fit.chi2"),
    column("a_v", sa.Double, doc="Attenuation in V; NULL of a polynomial", unit="mag", ucd="phys.absorption"),
    column(
        "velocity_km_s",
        sa.Double,
        doc="Velocity of the stars against the spectrum's redshift",
        unit="km.s**-1",
        ucd="phys.veloc",
    ),
    column(
        "dispersion_km_s",
        sa.Double,
        doc="Velocity dispersion of the stars; holds the instrument's width where that is not known",
        unit="km.s**-1",
        ucd="phys.veloc.dispersion",
    ),
    column("n_pixel", sa.Integer, doc="Pixels that were fitted", ucd="meta.number"),
    column("n_realisation", sa.Integer, doc="Noise realisations whose fits converged", ucd="meta.number"),
    column("reason", sa.Text, doc="Why the spectrum gives no label; NULL where it does"),
    reference("run_id", "run.run_id", "Run that fitted it, with method, templates and options", nullable=False),
    column("input_hash", sa.Text, doc="Hash of spectrum, templates and options", nullable=False),
    now_column("modified_at", "When this row was last written"),
    sa.CheckConstraint("(reason IS NULL) = (log_age IS NOT NULL AND mh IS NOT NULL)", name="outcome"),
    comment="Fits of spectra that labels come from, failed ones with the reason",
)

training_set = sa.Table(
    "training_set",
    metadata,
    identity("training_set_id", "Number of the training set"),
    column("name", sa.Text, doc="Name", nullable=False, unique=True),
    column("selection", sa.Text, doc="Selection it was frozen from", nullable=False),
    column("seed", sa.BigInteger, doc="Seed of the split", nullable=False),
    reference(
        "preprocess_config_id",
        "preprocess_config.preprocess_config_id",
        "Preprocessing of its stamps",
        nullable=False,
    ),
    column("label_origin", sa.Text, doc="Origin of its labels", nullable=False),
    column("simulated", sa.Boolean, doc="Whether its labels or images are simulated", nullable=False),
    column("n_member", sa.BigInteger, doc="Number of members", ucd="meta.number", nullable=False),
    column("hash", sa.Text, doc="Hash of members, pixels, labels and splits", nullable=False),
    now_column("created_at", "When it was frozen"),
    column(
        "properties",
        sa.ARRAY(sa.Text),
        doc="Properties its members are labelled with, in order",
        nullable=False,
        server_default="{}",
    ),
    column(
        "options",
        JSONB,
        doc="How it was drawn: fractions of the split, size, property it is uniform over, number selected",
        nullable=False,
        server_default="{}",
    ),
    comment="Frozen training sets",
)

training_member = sa.Table(
    "training_member",
    metadata,
    reference(
        "training_set_id",
        "training_set.training_set_id",
        "Training set",
        ondelete="CASCADE",
        primary_key=True,
    ),
    # No reference: a member whose image leaves the archive stays, so that the loss can be told.
    column("observation_id", sa.BigInteger, doc="Image", ucd="meta.id", primary_key=True, autoincrement=False),
    column("source_id", sa.BigInteger, doc="Source of the image", ucd="meta.id", nullable=False),
    column("galaxy_id", sa.BigInteger, doc="Galaxy of the image", ucd="meta.id", nullable=False),
    column(
        "split",
        sa.Text,
        doc="train, validation, calibration, test, or none for the seam between splits",
        nullable=False,
    ),
    column("label_source_id", sa.BigInteger, doc="Source of the labels", ucd="meta.id"),
    column("label", sa.ARRAY(sa.Double), doc="Labels when it was frozen, in the order of the set's properties"),
    column("input_hash", sa.Text, doc="Hash of pixels and preprocessing when it was frozen"),
    column("spectrum_observation_id", sa.BigInteger, doc="Spectrum, for selections that have one", ucd="meta.id"),
    column("spectrum_hash", sa.Text, doc="SHA-256 of the spectrum's file when it was frozen"),
    one_of("split", ("train", "validation", "calibration", "test", "none")),
    sa.Index("ix_training_member_observation_id", "observation_id"),
    comment="Members of training sets, split by sky",
)

model = sa.Table(
    "model",
    metadata,
    identity("model_id", "Number of the model"),
    column("name", sa.Text, doc="Name", nullable=False, unique=True),
    column("family", sa.Text, doc="Network family", nullable=False),
    column("mode", sa.Text, doc="as-published or improved", nullable=False),
    column("preset", sa.Text, doc="tiny, small or paper", nullable=False),
    column("options", JSONB, doc="Options the architecture is rebuilt from", nullable=False),
    column("code_version", sa.Text, doc="Version of the network's code", nullable=False),
    reference(
        "preprocess_config_id",
        "preprocess_config.preprocess_config_id",
        "Preprocessing of its stamps",
        nullable=False,
    ),
    reference(
        "training_set_id", "training_set.training_set_id", "Training set; NULL for a model of simulated Sersic stamps"
    ),
    column("trained_on", sa.Text, doc="simulation or observation", nullable=False),
    column(
        "input_kind",
        sa.Text,
        doc="What it reads: image, spectrum or image+spectrum",
        nullable=False,
        server_default="image",
    ),
    reference("run_id", "run.run_id", "Run that trained it"),
    column("weights_sha256", sa.Text, doc="SHA-256 of the weights", nullable=False),
    column(
        "metrics",
        JSONB,
        doc="Metrics on held-out sky, beside the baselines",
        nullable=False,
        server_default="{}",
    ),
    column(
        "calibration",
        JSONB,
        doc="Label scaling, residual quantiles, domain threshold",
        nullable=False,
        server_default="{}",
    ),
    column("state", sa.Text, doc="training, candidate, current or retired", nullable=False),
    now_column("created_at", "When it was registered"),
    one_of("mode", ("as-published", "improved")),
    one_of("trained_on", ("simulation", "observation")),
    one_of("state", ("training", "candidate", "current", "retired")),
    comment="Registry of models",
)

model_property = sa.Table(
    "model_property",
    metadata,
    reference("model_id", "model.model_id", "Model", ondelete="CASCADE", primary_key=True),
    reference("property_id", "property.property_id", "Property it predicts", primary_key=True),
    column("output_index", sa.Integer, doc="Which output of the network", nullable=False),
    comment="Properties each model predicts",
)

model_artifact = sa.Table(
    "model_artifact",
    metadata,
    reference("model_id", "model.model_id", "Model", ondelete="CASCADE", primary_key=True),
    column("name", sa.Text, doc="What it is: weights, domain", primary_key=True),
    column("chunk", sa.Integer, doc="Number of the chunk, from 0", primary_key=True),
    column("data", sa.LargeBinary, doc="Bytes, safetensors format", nullable=False),
    column("sha256", sa.Text, doc="SHA-256 of the whole artifact", nullable=False),
    comment="Weights and other arrays of models, in chunks",
)

training_epoch = sa.Table(
    "training_epoch",
    metadata,
    reference("run_id", "run.run_id", "Run that trains", ondelete="CASCADE", primary_key=True),
    column("part", sa.Text, doc="What is fitted: network, or a part of a network trained in parts", primary_key=True),
    column(
        "epoch",
        sa.Integer,
        doc="Epoch of the part, from 0",
        ucd="meta.number",
        primary_key=True,
        autoincrement=False,
    ),
    column("loss", sa.Double, doc="Loss of the training split, of scaled labels; NULL where not finite"),
    column("val_loss", sa.Double, doc="Loss of the validation split, of scaled labels; NULL where not finite"),
    now_column("recorded_at", "When it was written; a training that goes on writes its earlier epochs anew"),
    comment="Losses of trainings by epoch, written as they run",
)

served_model = sa.Table(
    "served_model",
    metadata,
    reference("property_id", "property.property_id", "Property", primary_key=True),
    column("input_kind", sa.Text, doc="image, spectrum or image+spectrum", primary_key=True),
    reference("model_id", "model.model_id", "Model whose values api.galaxy_property shows", nullable=False),
    now_column("modified_at", "When it was promoted"),
    comment="Which models serve which property, one of each kind of input",
)


def _quantile(name: str, per_cent: str) -> sa.Column[object]:
    return column(name, sa.REAL, doc=f"{per_cent} % quantile, calibrated, in the property's unit", ucd="stat.value")


prediction = sa.Table(
    "prediction",
    metadata,
    reference("model_id", "model.model_id", "Model", primary_key=True),
    reference("property_id", "property.property_id", "Property", primary_key=True),
    reference(
        "observation_id",
        "observation.observation_id",
        "Image or spectrum it was read from",
        ondelete="CASCADE",
        primary_key=True,
    ),
    column("source_id", sa.BigInteger, doc="Source of the observation, where known", ucd="meta.id"),
    column("value", sa.REAL, doc="Predicted value, in the property's unit", nullable=False),
    column(
        "err",
        sa.REAL,
        doc="One sigma: half the calibrated 68 % interval, in the property's unit",
        ucd="stat.error",
    ),
    column(
        "mc_err",
        sa.REAL,
        doc="Standard deviation of Monte Carlo dropout passes; too small to be an error bar",
        ucd="stat.stdev",
    ),
    _quantile("q025", "2.5"),
    _quantile("q05", "5"),
    _quantile("q16", "16"),
    _quantile("q50", "50"),
    _quantile("q84", "84"),
    _quantile("q95", "95"),
    _quantile("q975", "97.5"),
    column(
        "flag",
        sa.BigInteger,
        doc="Bits of registry 'prediction' in flag_definition",
        ucd="meta.code",
        nullable=False,
    ),
    column("input_hash", sa.Text, doc="Hash of all inputs", nullable=False),
    now_column("modified_at", "When this row was last written"),
    sa.Index("ix_prediction_property_q50", "property_id", "q50"),
    sa.Index("ix_prediction_source_id", "source_id"),
    sa.Index("ix_prediction_observation_id", "observation_id"),
    postgresql_partition_by="LIST (model_id)",
    comment="Predictions, one partition a model",
)

embedding = sa.Table(
    "embedding",
    metadata,
    reference("model_id", "model.model_id", "Model", primary_key=True),
    reference(
        "observation_id",
        "observation.observation_id",
        "Image or spectrum it was read from",
        ondelete="CASCADE",
        primary_key=True,
    ),
    column("source_id", sa.BigInteger, doc="Source of the observation, where known", ucd="meta.id"),
    column("vec", HALFVEC(), doc="L2-normalised features of the network; NULL where unusable"),
    column(
        "flag",
        sa.BigInteger,
        doc="Bits of registry 'prediction' in flag_definition",
        ucd="meta.code",
        nullable=False,
    ),
    column("input_hash", sa.Text, doc="Hash of all inputs", nullable=False),
    now_column("modified_at", "When this row was last written"),
    sa.Index("ix_embedding_source_id", "source_id"),
    sa.Index("ix_embedding_observation_id", "observation_id"),
    postgresql_partition_by="LIST (model_id)",
    comment="Embeddings, one partition a model",
)
