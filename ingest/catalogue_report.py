"""What an ingest of catalogues did, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FileReport:
    """What became of one file: `state` is loaded, unchanged, rejected, or merged again for the sake of another file."""

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

    def add(self, other: FileReport) -> None:
        """Take over what a further load of the same file wrote; its verdict is the last one's."""
        if other is not self:
            self.state, self.reason, self.rows = other.state, other.reason, other.rows
            self.loaded, self.rejected = other.loaded, other.rejected
            for name in ("inserted", "updated", "moved", "deleted"):
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class CatalogueReport:
    """What an ingest of catalogues did."""

    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: int = 0

    @property
    def n_row(self) -> int:
        """Megabytes of the files, which the progress bar counts."""
        return self.megabytes

    def __add__(self, other: CatalogueReport) -> CatalogueReport:
        """Both together."""
        return CatalogueReport(
            [*self.files, *other.files], self.seconds + other.seconds, self.megabytes + other.megabytes
        )

    def merge(self, later: CatalogueReport) -> None:
        """Add what was done later, to some of the same files."""
        by_file = {report.file: report for report in self.files}
        for report in later.files:
            by_file.setdefault(report.file, report).add(report)
        self.files = list(by_file.values())

    def of(self, state: str) -> list[str]:
        """Files of a state."""
        return [report.file for report in self.files if report.state == state]

    def without(self, state: str) -> CatalogueReport:
        """The report without the files of a state."""
        return CatalogueReport([report for report in self.files if report.state != state], self.seconds)

    def count(self, state: str) -> int:
        """Number of files of a state."""
        return sum(report.state == state for report in self.files)

    def total(self, name: str) -> int:
        """Sum of a number over the files loaded now."""
        return sum(getattr(report, name) for report in self.files if report.state == "loaded")

    def nulls(self) -> Counter[str]:
        """Values that became NULL, by cause."""
        return sum((Counter(report.nulls) for report in self.files), Counter())
