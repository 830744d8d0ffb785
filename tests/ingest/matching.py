"""Crossmatches as tests ask for them."""

from __future__ import annotations

from typing import Any

from galbase.ingest.crossmatch import CrossmatchOptions
from galbase.ingest.crossmatch_job import CrossmatchReport, run_crossmatch
from galbase.schema.config import Config


def crossmatch(config: Config, left: str, right: str, radius_arcsec: float, **options: Any) -> CrossmatchReport:
    """A crossmatch of two releases in this process."""
    return run_crossmatch(config, left, right, CrossmatchOptions(radius_arcsec, **options), workers=1)
