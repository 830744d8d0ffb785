"""A malformed file: how it is made, the reader that must refuse it, and what the message must name."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """One malformed file.

    Parameters
    ----------
    name : str
        What is wrong with it.
    file : str
        Name of the file.
    reader : {'table', 'image', 'spectrum'}
    message : str
        Regular expression that the refusal must match.
    make : callable
        Writes the file at a path.
    """

    name: str
    file: str
    reader: str
    message: str
    make: Callable[[Path], object]


def of_bytes(made: Callable[[], bytes]) -> Callable[[Path], object]:
    """A maker of a file of these bytes."""
    return lambda path: path.write_bytes(made())


def patched(data: bytes, key: str, value: object, *, after: int = 0) -> bytes:
    """FITS bytes with one keyword's value replaced, the first found after byte `after`."""
    for start in range(after, len(data), 80):
        if data[start : start + 8] == key.encode().ljust(8):
            text = f"'{value:<8}'" if isinstance(value, str) else f"{value:>20}"
            card = f"{key:<8}= {text}".encode().ljust(80)
            return data[:start] + card + data[start + 80 :]
    raise KeyError(key)


def cuts(data: bytes, header: int) -> Iterator[tuple[str, bytes]]:
    """FITS bytes cut short in several places; `header` is where the last HDU's header begins."""
    end = data.index(b"END" + b" " * 77, header)
    start = end + 80 + -(end + 80) % 2880
    yield "after 40 bytes", data[:40]
    yield "in the first header", data[:2000]
    yield "in the last header", data[: header + 1000] if header else data[:2500]
    yield "before the data", data[:start]
    yield "in the data", data[: (start + len(data)) // 2]
    yield "before the last block", data[:-2880]
    yield "by one byte", data.rstrip(b"\0")[:-1]


def gzip_zeros(head: bytes, total: int) -> bytes:
    """About 1/1000 of `total` bytes of gzip that expands to a head and zeros."""
    member = gzip.compress(bytes(64 * MIB), 9)
    return gzip.compress(head) + member * (total // (64 * MIB))


def bzip2_zeros(head: bytes, total: int) -> bytes:
    """A few kB of bzip2 that expands to a head and zeros."""
    member = bz2.compress(bytes(64 * MIB), 9)
    return bz2.compress(head) + member * (total // (64 * MIB))
