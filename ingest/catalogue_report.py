"""What an ingest of catalogues did, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FileReport:
    """What became of one file: `state` is loaded, unchanged or rejected."""

    file: str
    state: str
    format: str | None = None
    reason: str | None = None
    rows: int = 0
    loaded: int = 0
    rejected: int = 0
    inserted: int = 0
    updated: int = 0
    moved: int = 0
    deleted: int = 0
    nulls: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class CatalogueReport:
    """What an ingest of catalogues did."""

    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, state: str) -> int:
        """Number of files of a state."""
        return sum(report.state == state for report in self.files)

    def total(self, name: str) -> int:
        """Sum of a number over the files loaded now."""
        return sum(getattr(report, name) for report in self.files if report.state == "loaded")

    def nulls(self) -> Counter[str]:
        """Values that became NULL, by cause."""
        return sum((Counter(report.nulls) for report in self.files), Counter())
