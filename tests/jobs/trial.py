"""An archive of made images for tests of jobs that read pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psycopg

from galbase.ingest.jobs import run_preprocess
from galbase.ingest.preprocess.config import preset
from galbase.schema import files
from galbase.schema.cache_folder import cache_folder
from galbase.schema.config import Config

RELEASE = "trial-images"
PUBLISHED = preset("galeffnet")


def shard(path: Path, seed: int, n: int) -> None:
    """An ssl-legacysurvey shard of Gaussian galaxies on noise, half of them with a close companion."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:152, :152]
    images = rng.normal(0, 0.002, (n, 3, 152, 152))
    for i in range(n):
        for k in range(1 + i % 2):
            x0, y0 = 76 + 13 * k + rng.uniform(-1, 1), 76 + rng.uniform(-1, 1)
            galaxy = rng.uniform(0.03, 0.1) * np.exp(-((x - x0) ** 2 + 1.5 * (y - y0) ** 2) / rng.uniform(20, 60))
            images[i] += galaxy * np.array([0.5, 1.0, 1.5])[:, None, None]
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images.astype(np.float32), chunks=(min(4, n), 3, 152, 152))


def register(connection: psycopg.Connection[Any], path: Path, fmt: str, n: int) -> int:
    """What ingest writes for an image file."""
    connection.execute(
        "INSERT INTO archive.data_release (release, survey) VALUES (%s, 'trial') ON CONFLICT DO NOTHING", (RELEASE,)
    )
    release_id = connection.execute(
        "SELECT release_id FROM archive.data_release WHERE release = %s", (RELEASE,)
    ).fetchone()[0]  # type: ignore[index]
    file_id = files.record_file(
        connection, release_id=release_id, root_id=files.register_root(connection, path.parent), path=path.name,
        format=fmt, facts=files.file_facts(path), options_hash="", state="loaded", n_row=n,
    )  # fmt: skip
    for row in range(n):
        observation = connection.execute(
            "INSERT INTO archive.observation (kind, release_id, data_file_id, row_index) VALUES ('image', %s, %s, %s) "
            "RETURNING observation_id",
            (release_id, file_id, row),
        ).fetchone()[0]  # type: ignore[index]
        connection.execute(
            "INSERT INTO archive.image (observation_id, bands, pixel_scale_arcsec, width, height, is_display) "
            "VALUES (%s, %s, %s, 152, 152, false)",
            (observation, ["g", "r", "z"], 0.262),
        )
    connection.commit()
    return file_id


@dataclass
class Trial:
    config: Config
    connection: psycopg.Connection[Any]
    folder: Path

    def run(self, **options: Any) -> Any:
        given = {"release": RELEASE, "preprocess": PUBLISHED, "workers": 1, **options}
        return run_preprocess(self.config, **given)

    def add(self, name: str, seed: int, n: int) -> int:
        shard(self.folder / name, seed, n)
        return register(self.connection, self.folder / name, "hdf5", n)

    def stored(self) -> dict[tuple[str, int, int], tuple[Any, ...]]:
        found = self.connection.execute(
            "SELECT f.path, o.row_index, p.preprocess_config_id, p.flag, p.kept, p.ellipse_a, p.n_source, "
            "p.input_hash, p.modified_at, o.pixel_hash FROM archive.preprocess p "
            "JOIN archive.observation o USING (observation_id) JOIN archive.data_file f USING (data_file_id)"
        ).fetchall()
        self.connection.commit()
        return {tuple(row[:3]): tuple(row[3:]) for row in found}


def cached_folder(trial: Trial) -> Path:
    found = cache_folder(trial.connection, trial.config)
    assert found is not None
    return found


def cached_files(trial: Trial) -> set[str]:
    return {path.relative_to(cached_folder(trial)).as_posix() for path in cached_folder(trial).glob("*/*")}


def cached_rows(trial: Trial) -> dict[str, tuple[Any, ...]]:
    """Recorded files by path."""
    query = (
        "SELECT s.path, f.path, s.row_start, s.row_stop, s.n_stamp, s.size_bytes, s.content_hash, "
        "s.preprocess_config_id FROM archive.stamp_file s JOIN archive.data_file f USING (data_file_id)"
    )
    return {row[0]: tuple(row[1:]) for row in trial.connection.execute(query).fetchall()}
