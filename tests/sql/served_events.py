"""A crowded little archive, and everything that can happen to it that changes which value of a galaxy is served."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg

from galbase.ingest.galaxies import add_galaxies, mark_changed, rebuild_galaxies, update_galaxies
from galbase.ingest.moved_sources import move_sources
from galbase.ingest.releases import drop_release
from galbase.schema.bulk import upsert

RELEASES = (1, 2, 3)
MODELS = {1: "image", 2: "image", 3: "spectrum", 4: "image+spectrum"}
NAMES = ("log_mstar_fib", "log_mstar_tot", "oh12")
N_PLACE = 12
COLUMNS = (
    "model_id", "property_id", "observation_id", "source_id", "value", "err", "q025", "q05", "q16", "q50", "q84", "q95",
    "q975", "flag", "input_hash",
)  # fmt: skip


class Events:
    """Events drawn by a generator of random numbers, each in a transaction of its own.

    Place k of the sky has a source in release r with the id ``1000 * r + k`` (10,000 more once it has moved); image
    and spectrum numbers count upwards. Models 1 and 2 read images, 3 spectra, 4 both; 1 was trained on simulations.
    """

    def __init__(self, connection: psycopg.Connection[Any], seed: int) -> None:
        self.connection = connection
        self.sow(seed)

    def sow(self, seed: int) -> None:
        """Begin anew with this seed, in the server's ``random()`` as well."""
        self.rng = np.random.default_rng(seed)
        self.connection.execute("SELECT setseed(%s)", (seed / 1000,))

    def fill(self) -> None:
        """Three releases of the same places, each with images, and models that serve nothing yet.

        Nobody has put the triggers on the predictions of models 3 and 4: their promotion does.
        """
        execute = self.connection.execute
        execute("INSERT INTO archive.data_root (path) VALUES ('/nowhere')")
        execute(
            "INSERT INTO archive.preprocess_config (preprocess_config_id, name, hash, parameters) "
            "OVERRIDING SYSTEM VALUE VALUES (1, 'galeffnet', 'h', '{}')"
        )
        execute(
            "INSERT INTO archive.training_set (training_set_id, name, selection, seed, preprocess_config_id, "
            "label_origin, simulated, n_member, hash) OVERRIDING SYSTEM VALUE "
            "VALUES (1, 'set', 'galeffnet', 1, 1, 'mpa-jhu', true, 9, '')"
        )
        for model in MODELS:
            execute(
                "INSERT INTO archive.model (model_id, name, family, mode, preset, options, code_version, "
                "preprocess_config_id, training_set_id, trained_on, input_kind, weights_sha256, state) OVERRIDING "
                "SYSTEM VALUE VALUES (%s, %s, 'galeffnet', 'improved', 'tiny', '{}', '1', 1, 1, %s, %s, '', "
                "'candidate')",
                (model, f"model {model}", "simulation" if model == 1 else "observation", MODELS[model]),
            )
            execute(
                f"CREATE TABLE archive.prediction_{model} PARTITION OF archive.prediction "
                f"FOR VALUES IN ({model})".encode()
            )
        execute("SELECT archive.watch_predictions(m) FROM generate_series(1, 2) m")
        for release in RELEASES:
            self.add_release(release)

    def add_release(self, release: int | None = None) -> None:
        """A release that is not there comes, with sources, images, and galaxies of them."""
        present = self._numbers("SELECT release_id FROM archive.data_release")
        absent = [each for each in RELEASES if each not in present]
        if release is None and not absent:
            return
        number = absent[0] if release is None else release
        execute = self.connection.execute
        with self.connection.transaction():
            execute(
                "INSERT INTO archive.data_release (release_id, release, survey, priority, simulated) OVERRIDING SYSTEM "
                "VALUE VALUES (%(r)s, %(n)s, 'test', %(p)s, %(s)s)",
                {"r": number, "n": f"release {number}", "p": int(self.rng.integers(3)), "s": number == 1},
            )
            execute(
                "INSERT INTO archive.data_file (data_file_id, release_id, data_root_id, path, format, size_bytes, "
                "mtime, state) OVERRIDING SYSTEM VALUE VALUES (%(r)s, %(r)s, 1, %(r)s::text, 'hdf5', 0, now(), "
                "'loaded')",
                {"r": number},
            )
            execute(
                "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29) "
                "SELECT 1000 * %(r)s + k, %(r)s, k::text, 10 + k, 0, api.healpix(10 + k, 0, 29) "
                "FROM generate_series(0, %(n)s - 1) k",
                {"r": number, "n": N_PLACE},
            )
            mark_changed(self.connection, inserted=N_PLACE, changed=0)
        for _ in range(N_PLACE):
            self.observe(number)
        self._galaxies()

    def observe(self, release: int | None = None) -> None:
        """An image, or a spectrum, of a source of a release."""
        sources = self._numbers(
            "SELECT source_id FROM archive.source WHERE %(r)s::bigint IS NULL OR release_id = %(r)s", {"r": release}
        )
        if sources:
            self.connection.execute(
                "INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index) SELECT %s, "
                "source_id, release_id, release_id, (SELECT coalesce(max(row_index), 0) + 1 FROM archive.observation) "
                "FROM archive.source WHERE source_id = %s",
                ("spectrum" if self.rng.random() < 0.2 else "image", self._one(sources)),
            )

    def predict(self) -> None:
        """A unit's predictions by one model, new ones and ones that change."""
        model = self._one(list(MODELS))
        numbers = self._numbers("SELECT property_id FROM archive.property WHERE name = ANY(%s)", (list(NAMES),))
        some = self._some("SELECT observation_id FROM archive.observation", 8)
        rows = [
            (model, number, each, None, float(self.rng.normal(10)), 0.2, *[9.0] * 7, int(self.rng.integers(2)),
             str(self.rng.random()))
            for each in some for number in numbers
        ]  # fmt: skip
        with self.connection.transaction():
            upsert(
                self.connection, "archive", f"prediction_{model}", COLUMNS, rows,
                key=("model_id", "property_id", "observation_id"), compare=("input_hash", "source_id"),
            )  # fmt: skip

    def forget(self) -> None:
        """Predictions that are no longer wanted, deleted from the table or from a partition."""
        table = self._one(["prediction", *(f"prediction_{model}" for model in MODELS)])
        self.connection.execute(
            f"DELETE FROM archive.{table} WHERE observation_id = ANY(%s)".encode(),  # noqa: S608
            (self._some("SELECT observation_id FROM archive.observation", 4),),
        )

    def promote(self) -> None:
        """Another model serves some properties."""
        self.connection.execute(
            "INSERT INTO archive.served_model (property_id, input_kind, model_id) SELECT p.property_id, m.input_kind, "
            "m.model_id FROM archive.property p, archive.model m WHERE p.name = ANY(%s) AND m.model_id = %s "
            "ON CONFLICT (property_id, input_kind) DO UPDATE SET model_id = excluded.model_id, modified_at = now() "
            "WHERE served_model.model_id <> excluded.model_id",
            ([name for name in NAMES if self.rng.random() < 0.7], self._one(list(MODELS))),
        )

    def demote(self) -> None:
        """Nothing of one kind of input serves a property any more."""
        self.connection.execute(
            "DELETE FROM archive.served_model s USING archive.property p WHERE p.property_id = s.property_id "
            "AND p.name = %s AND s.input_kind = %s",
            (self._one(list(NAMES)), self._one(sorted(set(MODELS.values())))),
        )

    def crossmatch(self) -> None:
        """Sources of two releases at the same place become one galaxy, or no longer are."""
        present = self._numbers("SELECT release_id FROM archive.data_release ORDER BY 1")
        if len(present) < 2:
            return
        left, right = sorted(self.rng.permutation(present)[:2].tolist())
        with self.connection.transaction():
            self.connection.execute(
                "DELETE FROM archive.crossmatch_run WHERE left_release_id = %s AND right_release_id = %s", (left, right)
            )
            if self.rng.random() < 0.7:
                number = self.connection.execute(
                    "INSERT INTO archive.crossmatch_run (left_release_id, right_release_id, radius_arcsec, n_pair) "
                    "VALUES (%s, %s, 1, 0) RETURNING crossmatch_run_id", (left, right),
                ).fetchone()[0]  # type: ignore[index]  # fmt: skip
                self.connection.execute(
                    "INSERT INTO archive.crossmatch SELECT %s, a.source_id, b.source_id, 0.1, 1, 1 "
                    "FROM archive.source a JOIN archive.source b ON b.native_id = a.native_id AND b.release_id = %s "
                    "WHERE a.release_id = %s "
                    "AND random() < 0.7",
                    (number, right, left),
                )
            rebuild_galaxies(self.connection)

    def move(self) -> None:
        """Corrected positions give sources other ids."""
        some = self._some("SELECT source_id FROM archive.source", 3)
        pairs = {each: each + 10_000 if each < 10_000 else each - 10_000 for each in some}
        with self.connection.transaction():
            move_sources(self.connection, pairs)

    def reassign(self) -> None:
        """Images turn out to be of another source, or of none."""
        some = self._some("SELECT observation_id FROM archive.observation", 3)
        sources = self._numbers("SELECT source_id FROM archive.source")
        target = self._one(sources) if sources and self.rng.random() < 0.7 else None
        self.connection.execute(
            "UPDATE archive.observation SET source_id = %s WHERE observation_id = ANY(%s)", (target, some)
        )

    def lose(self) -> None:
        """Images, or sources, go."""
        if self.rng.random() < 0.5:
            some = self._some("SELECT observation_id FROM archive.observation", 3)
            self.connection.execute("DELETE FROM archive.observation WHERE observation_id = ANY(%s)", (some,))
            return
        some = self._some("SELECT source_id FROM archive.source", 2)
        with self.connection.transaction():
            self.connection.execute("DELETE FROM archive.source WHERE source_id = ANY(%s)", (some,))
            rebuild_galaxies(self.connection)

    def scatter(self) -> None:
        """Galaxies are deleted, and made anew by the next ingest."""
        with self.connection.transaction():
            self.connection.execute(
                "DELETE FROM archive.galaxy WHERE galaxy_id = ANY(%s)",
                (self._some("SELECT galaxy_id FROM archive.galaxy", 4),),
            )
            mark_changed(self.connection, inserted=0, changed=1)

    def reorder(self) -> None:
        """A release comes before others, or is told to be simulated."""
        column, value = (
            ("priority", "floor(random() * 3)") if self.rng.random() < 0.7 else ("simulated", "NOT simulated")
        )
        self.connection.execute(
            f"UPDATE archive.data_release SET {column} = {value} WHERE release_id = %s".encode(),  # noqa: S608
            (self._one(list(RELEASES)),),
        )

    def retrain(self) -> None:
        """A model is told to have learned from other data."""
        self.connection.execute(
            "UPDATE archive.model SET trained_on = CASE trained_on WHEN 'simulation' THEN 'observation' ELSE "
            "'simulation' END WHERE model_id = %s",
            (self._one(list(MODELS)),),
        )

    def drop(self) -> None:
        """A release goes with all it has."""
        present = self._numbers("SELECT release_id FROM archive.data_release")
        if len(present) > 1:
            with self.connection.transaction():
                drop_release(self.connection, f"release {self._one(present)}")
                mark_changed(self.connection, inserted=0, changed=1)

    def empty(self) -> None:
        """Somebody empties a table."""
        self.connection.execute(
            f"TRUNCATE archive.{self._one(['prediction', 'prediction_1', 'served_model'])}".encode()
        )

    def _galaxies(self) -> None:
        update_galaxies(self.connection)
        add_galaxies(self.connection)

    def galaxies(self) -> None:
        """The next ingest lets galaxies follow."""
        self._galaxies()

    def _numbers(self, query: str, parameters: Any = None) -> list[int]:
        return [row[0] for row in self.connection.execute(query.encode(), parameters).fetchall()]

    def _some(self, query: str, at_most: int) -> list[int]:
        found = sorted(self._numbers(query))
        return [int(each) for each in self.rng.permutation(found)[: int(self.rng.integers(1, at_most + 1))]]

    def _one(self, values: list[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]


# Writing and forgetting come as often as all else together.
NAMED = (
    *(["predict"] * 6), *(["promote"] * 3), *(["observe", "crossmatch"] * 2), "forget", "demote", "move", "reassign",
    "lose", "scatter", "reorder", "retrain", "drop", "add_release", "galaxies", "empty",
)  # fmt: skip
