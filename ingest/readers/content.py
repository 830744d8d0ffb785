"""A file's bytes, unpacked where it is compressed, and what format they are."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from galbase.schema.errors import GalbaseError, UsageError

# Survey tables and frames shrink by 2 to 20. A hundred leaves room for sparse maps, and 2 MB of zeros that stand for
# 2 GiB are refused after half a second of unpacking.
MAX_EXPANSION = 100
MAX_EXPANSION_VARIABLE = "GALBASE_MAX_EXPANSION"
# Small files may expand by more: an empty map of 3600 x 3600 pixels shrinks by a thousand.
ALWAYS_ALLOWED_BYTES = 64 * 2**20
# What is larger when unpacked lies in a temporary file, not in memory.
_IN_MEMORY_BYTES = 32 * 2**20
_BLOCK = 2**20


def max_expansion() -> float:
    """How many times its size a file may expand to, from ``GALBASE_MAX_EXPANSION`` (`MAX_EXPANSION` when unset).

    Raises
    ------
    UsageError
        If the variable is no positive number.
    """
    text = os.environ.get(MAX_EXPANSION_VARIABLE, "")
    if not text:
        return MAX_EXPANSION
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise UsageError(
            f"{MAX_EXPANSION_VARIABLE}={text!r} is no positive number; give one such as 1000, or unset it."
        )
    return value


def expansion_limit(packed_bytes: int) -> float:
    """Bytes that a file of `packed_bytes` may expand to: `max_expansion` times its size, 64 MiB in any case."""
    return max(ALWAYS_ALLOWED_BYTES, max_expansion() * packed_bytes)


def refuse_expansion(name: str, promised: int, packed_bytes: int, what: str) -> None:
    """Refuse a part of a file that says it holds more than its file may expand to, before memory is taken for it.

    Parameters
    ----------
    name : str
        Name of the file.
    promised, packed_bytes : int
        Bytes that the part would take, and those of the file.
    what : str
        The part, such as ``dataset images``.

    Raises
    ------
    GalbaseError
        With the remedy.
    """
    if promised > expansion_limit(packed_bytes):
        raise GalbaseError(
            f"{name}: {what} would take {promised / 2**20:,.0f} MiB, which is more than {max_expansion():g} times the "
            f"file's {packed_bytes:,} bytes. {_REMEDY}"
        )


_REMEDY = (
    "If the file is sound, unpack it yourself, or raise the bound: "
    f"{MAX_EXPANSION_VARIABLE}=1000 galbase ingest ... allows a thousand times."
)


def open_content(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file for reading, unpacked if it is gzip or bzip2; also tells whether it was.

    Raises
    ------
    GalbaseError
        If it cannot be read, its compressed stream is damaged, or it expands to more than `expansion_limit`.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(3)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed:
                return _unpack(packed, path), True
        if magic == b"BZh":
            with bz2.open(path) as packed:
                return _unpack(packed, path), True
        return path.open("rb"), False
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GalbaseError(f"{path.name} is a damaged compressed file ({error}); fetch it again.") from error
    except OSError as error:
        if error.errno is None:
            # bz2 reports damage so.
            raise GalbaseError(f"{path.name} is a damaged compressed file ({error}); fetch it again.") from error
        raise GalbaseError(f"{path.name} cannot be read: {error.strerror}.") from error


def _unpack(packed: gzip.GzipFile | bz2.BZ2File, path: Path) -> BinaryIO:
    packed_bytes = path.stat().st_size
    limit = expansion_limit(packed_bytes)
    made: BinaryIO = io.BytesIO()
    try:
        while block := packed.read(_BLOCK):
            size = made.tell() + len(block)
            if size > limit:
                raise GalbaseError(
                    f"{path.name} expands to more than {max_expansion():g} times its {packed_bytes:,} bytes. {_REMEDY}"
                )
            if size > _IN_MEMORY_BYTES and isinstance(made, io.BytesIO):
                made = _to_file(made)
            made.write(block)
    except BaseException:
        made.close()
        raise
    made.seek(0)
    return made


def _to_file(held: io.BytesIO) -> BinaryIO:
    file = tempfile.TemporaryFile(prefix="galbase-")  # noqa: SIM115 -- the caller closes it
    file.write(held.getbuffer())
    return file


def sniff(stream: BinaryIO) -> str | None:
    """``fits``, ``votable``, ``parquet``, ``ecsv`` or ``csv`` by the first bytes; None if it is none of them."""
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(0)
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if text.lstrip().startswith(b"<"):
        return "votable" if b"VOTABLE" in text else None
    if text.startswith(b"# %ECSV"):
        return "ecsv"
    if not text or b"\0" in text:
        return None
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut in two by the end of the block.
        if error.start < len(text) - 4:
            return None
    return "csv"
