"""Messages that name the file: a fault found in a column says so without knowing where the column came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from galbase.ingest.readers.column import TableFile
from galbase.schema.errors import GalbaseError

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Put a file's name before messages of errors that do not hold it.

    Raises
    ------
    GalbaseError
        What was raised inside, of the same class.
    """
    try:
        yield
    except GalbaseError as error:
        if file in str(error):
            raise
        raise type(error)(f"{file}: {error}") from error


def names_file(read: Callable[Concatenate[TableFile, str, P], T]) -> Callable[Concatenate[TableFile, str, P], T]:
    """Decorate a reader of (table, name of the file, ...), so that its errors name the file."""

    @wraps(read)
    def named(file: TableFile, name: str, /, *args: P.args, **options: P.kwargs) -> T:
        with naming(name):
            return read(file, name, *args, **options)

    return named
