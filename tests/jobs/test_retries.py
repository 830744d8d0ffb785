"""Units that meet an error that passes are tried again, a bounded number of times; all others fail at once."""

import errno
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from galbase.ingest import preprocess_store
from galbase.schema import jobs, ledger
from galbase.schema.errors import GalbaseError
from galbase.schema.jobs import Batch, run_batch
from galbase.schema.ledger import StaleUnit, WorkUnit, complete
from galbase.schema.transient import is_transient
from tests.jobs.trial import Trial

Process = Callable[[psycopg.Connection[Any], WorkUnit], Any]


@dataclass(frozen=True)
class Done:
    n_row: int = 0

    def __add__(self, other: "Done") -> "Done":
        return Done(self.n_row + other.n_row)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "RETRY_SECONDS", 0.02)


@pytest.fixture
def connection(archive: Any) -> Iterator[psycopg.Connection[Any]]:
    with archive.connect(autocommit=True) as made:
        made.execute("CREATE TABLE IF NOT EXISTS catalogue.retry_trial (unit bigint)")
        made.execute("TRUNCATE catalogue.retry_trial")
        yield made


def write(connection: psycopg.Connection[Any], unit: WorkUnit) -> Done:
    with connection.transaction():
        connection.execute("INSERT INTO catalogue.retry_trial VALUES (%s)", (unit.work_unit_id,))
        complete(connection, unit, 1)
    return Done(1)


def run(archive: Any, process: Process, n_unit: int = 3) -> Done:
    units = [StaleUnit(None, 10 * k, 10 * k + 10, 1) for k in range(n_unit)]
    batch = Batch("trial", "trial", {}, units, process, (), Done(), lease_seconds=2.0)
    return run_batch(archive.config, None, batch, None, lambda it: f"{it.n_row}")[1]


def units(connection: psycopg.Connection[Any]) -> list[tuple[str, int, str | None]]:
    return connection.execute(
        "SELECT state, attempt, message FROM archive.work_unit WHERE run_id = (SELECT max(run_id) FROM archive.run) "
        "ORDER BY work_unit_id"
    ).fetchall()


def written(connection: psycopg.Connection[Any]) -> Counter[int]:
    return Counter(row[0] for row in connection.execute("SELECT unit FROM catalogue.retry_trial").fetchall())


def away() -> GalbaseError:
    """What a reader says of a network file system that hangs."""
    try:
        try:
            raise OSError(errno.ESTALE, "Stale file handle")
        except OSError as error:
            raise GalbaseError("cannot read a.h5 as hdf5: Stale file handle. Fetch the file again.") from error
    except GalbaseError as error:
        return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (away(), True),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (OSError(errno.ENOSPC, "No space left"), False),
        (OSError("Unable to synchronously open file (truncated file)"), False),
        (psycopg.errors.UniqueViolation(), False),
        (GalbaseError("this file is damaged"), False),
        (ValueError("a bug"), False),
    ],
)
def test_which_errors_pass(error: Exception, passes: bool) -> None:
    assert is_transient(error) == passes


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), away()], ids=["bare", "wrapped"])
def test_a_passing_error_is_tried_again(archive: Any, connection: psycopg.Connection[Any], error: Exception) -> None:
    def process(own: psycopg.Connection[Any], unit: WorkUnit) -> Done:
        if unit.row_start == 10 and unit.attempt < 3:
            raise error
        return write(own, unit)

    assert run(archive, process).n_row == 3
    assert units(connection) == [("done", 1, None), ("done", 3, None), ("done", 1, None)]
    assert set(written(connection).values()) == {1}


def test_what_does_not_pass_is_given_up_and_the_others_are_done(
    archive: Any, connection: psycopg.Connection[Any]
) -> None:
    def process(own: psycopg.Connection[Any], unit: WorkUnit) -> Done:
        if unit.row_start == 10:
            raise away()
        return write(own, unit)

    with pytest.raises(GalbaseError, match=r"1 of 3 units failed.*Stale file handle.*\(tried 5 times\)"):
        run(archive, process)
    assert [row[:2] for row in units(connection)] == [("done", 1), ("failed", ledger.MAX_ATTEMPTS), ("done", 1)]
    assert len(written(connection)) == 2


def test_an_error_that_stays_is_not_tried_again(archive: Any, connection: psycopg.Connection[Any]) -> None:
    def process(own: psycopg.Connection[Any], unit: WorkUnit) -> Done:
        if unit.row_start == 10:
            raise GalbaseError("a.h5 is damaged") from FileNotFoundError(errno.ENOENT, "No such file")
        return write(own, unit)

    with pytest.raises(GalbaseError, match="1 of 3 units failed.*damaged"):
        run(archive, process)
    assert units(connection)[1] == ("failed", 1, "a.h5 is damaged")


def test_a_bug_is_not_hidden(archive: Any) -> None:
    def process(_own: psycopg.Connection[Any], _unit: WorkUnit) -> Done:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run(archive, process)


@pytest.mark.parametrize("when", ["before the rows", "within the transaction", "after the commit"])
def test_a_lost_connection_loses_and_doubles_nothing(
    archive: Any, connection: psycopg.Connection[Any], when: str
) -> None:
    def cut(own: psycopg.Connection[Any]) -> None:
        with psycopg.connect(str(archive.config.database_url), autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (own.info.backend_pid,))

    def process(own: psycopg.Connection[Any], unit: WorkUnit) -> Done:
        chosen = unit.row_start == 10 and unit.attempt == 1
        if chosen and when == "before the rows":
            cut(own)
        if chosen and when == "within the transaction":
            with own.transaction():
                own.execute("INSERT INTO catalogue.retry_trial VALUES (%s)", (unit.work_unit_id,))
                cut(own)
                complete(own, unit, 1)
        done = write(own, unit)
        if chosen and when == "after the commit":
            cut(own)
        return done

    assert run(archive, process, 5).n_row == 5
    attempts = [row[:2] for row in units(connection)]
    assert [state for state, _ in attempts] == ["done"] * 5
    assert attempts[1][1] == (1 if when == "after the commit" else 2)
    assert len(written(connection)) == 5
    assert set(written(connection).values()) == {1}


def test_nobody_claims_it_before_its_time(connection: psycopg.Connection[Any]) -> None:
    run_id = ledger.start_run(connection, "trial", {})
    ledger.add_units(connection, run_id, "trial", [(None, 0, 1)])
    unit = ledger.claim(connection, run_id, "trial", "a", 60)
    assert unit is not None
    begun = time.monotonic()
    ledger.retry(connection, unit, "away", 0.5)
    again = None
    while again is None:
        again = ledger.claim(connection, run_id, "trial", "b", 60)
        assert time.monotonic() - begun < 30
    assert time.monotonic() - begun >= 0.5
    assert (again.attempt, again.owner) == (2, "b")
    # The first owner has nothing to say any more.
    ledger.retry(connection, unit, "late", 0)
    assert units(connection) == [("claimed", 2, "away")]


def test_the_preprocessing_job_survives_a_file_system_that_comes_back(
    fresh_archive: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, lock, n_error = preprocess_store.read_cutouts, threading.Lock(), Counter[str]()

    def sometimes(path: Any, *rest: Any) -> Any:
        with lock:
            n_error[path.name] += 1
            if n_error[path.name] <= 2:
                raise away()
        return read(path, *rest)

    monkeypatch.setattr(preprocess_store, "read_cutouts", sometimes)
    with fresh_archive.connect() as connection:
        trial = Trial(fresh_archive.config, connection, tmp_path)
        trial.add("a.h5", 1, 3)
        trial.add("b.h5", 2, 3)
        assert trial.run().n_row == 6
        assert n_error == {"a.h5": 3, "b.h5": 3}
        assert len(trial.stored()) == 6
