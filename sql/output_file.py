"""Files of results: complete or not at all, with the licence and citation noted that they cannot hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from galbase.schema.console import note
from galbase.schema.errors import GalbaseError
from galbase.sql.query import ReleaseCredit


@contextmanager
def complete_file(out: Path) -> Iterator[Path]:
    """A file beside `out` to write to, which takes its place when the block ends well; one that exists is replaced.

    Raises
    ------
    GalbaseError
        If the file cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.absolute().parent)
        os.close(handle)
    except OSError as error:
        raise GalbaseError(f"--out {out} cannot be written: {error.strerror}. Name another file.") from error
    part = Path(name)
    try:
        yield part
        # mkstemp makes files that only their owner may read; a result is as readable as any file the user makes.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(out)
    except OSError as error:
        raise GalbaseError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def note_credits(credits: Iterable[ReleaseCredit]) -> None:
    """Write licence and citation to standard error, for formats that have no place for them."""
    for credit in credits:
        note(
            f"data: {credit.release}; licence: {credit.licence or 'not stated'}; "
            f"cite: {credit.citation or 'not stated'}"
        )
