"""Tables of schema `archive`, as SQLAlchemy tables; importing this package fills `metadata`."""

from galbase.schema.tables import knowledge, legacysurvey, observation, provenance, sdss, served, sky
from galbase.schema.tables.base import metadata

__all__ = ["knowledge", "legacysurvey", "metadata", "observation", "provenance", "sdss", "served", "sky"]
