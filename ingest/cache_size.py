"""How much room stamps will take, told before they are written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.preprocess.config import PreprocessConfig

# A stamp has at most three bands of float32, a bit of mask a pixel, and this much about it.
_MOST_BANDS, _BYTES_PER_VALUE, _BYTES_ABOUT = 3, 4, 256


@dataclass(frozen=True)
class ExpectedSize:
    """Room that stamps will take.

    Parameters
    ----------
    n_image, n_byte : int
    measured : bool
        Whether the size follows from stamps of this configuration; otherwise it is the most that they can take.
    """

    n_image: int
    n_byte: int
    measured: bool

    def text(self, folder: Path) -> str:
        """A line for the user, with the room that is left."""
        free = shutil.disk_usage(folder).free
        about = "about" if self.measured else "at most"
        line = f"stamp cache: {about} {readable(self.n_byte)} for {self.n_image:,} images in {folder}"
        full = " - MORE THAN IS FREE; without room, stamps are not cached" if self.n_byte > free else ""
        return f"{line} ({readable(free)} free){full}"


def expected_size(
    connection: psycopg.Connection[Any], config_id: int | None, config: PreprocessConfig, n_image: int, judged: bool
) -> ExpectedSize:
    """Size of the stamps of `n_image` images.

    Parameters
    ----------
    connection : psycopg.Connection
    config_id, config
        The configuration and its number, None if it is not stored yet.
    n_image : int
    judged : bool
        Whether all of them are kept; otherwise the share that was kept so far is taken, or all of them.
    """
    row = connection.execute(
        "SELECT coalesce(sum(size_bytes), 0), coalesce(sum(n_stamp), 0), "
        "(SELECT avg(kept::int)::float8 FROM archive.preprocess WHERE preprocess_config_id = %(id)s) "
        "FROM archive.stamp_file WHERE preprocess_config_id = %(id)s",
        {"id": config_id},
    ).fetchone()
    if row is not None and row[1] > 0:
        share = 1.0 if judged or row[2] is None else float(row[2])
        return ExpectedSize(n_image, round(int(row[0]) / int(row[1]) * n_image * share), True)
    side = config.stamp_px**2
    return ExpectedSize(n_image, n_image * (side * _MOST_BANDS * _BYTES_PER_VALUE + side // 8 + _BYTES_ABOUT), False)


def readable(n_byte: float) -> str:
    """Bytes in the largest unit that they fill."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_byte < 1000:
            return f"{n_byte:.3g} {unit}"
        n_byte /= 1000
    return f"{n_byte:.3g} TB"
