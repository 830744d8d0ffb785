"""A file's bytes, unpacked where it is compressed, and what format they are."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

from galbase.schema.errors import GalbaseError

# Survey tables shrink by 20 at most; what grows by more than this is no table but an attack or an empty shell.
MAX_EXPANSION = 200
_SURE_AFTER_BYTES = 64 * 2**20
_BLOCK = 2**20


def open_content(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file for reading, unpacked in memory if it is gzip or bzip2; also tells whether it was.

    Raises
    ------
    GalbaseError
        If it cannot be read, its compressed stream is damaged, or it expands absurdly.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(3)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed:
                return io.BytesIO(_unpack(packed, path)), True
        if magic == b"BZh":
            with bz2.open(path) as packed:
                return io.BytesIO(_unpack(packed, path)), True
        return path.open("rb"), False
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GalbaseError(f"{path.name} is a damaged compressed file ({error}); fetch it again.") from error
    except OSError as error:
        raise GalbaseError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _unpack(packed: gzip.GzipFile | bz2.BZ2File, path: Path) -> bytes:
    limit = max(_SURE_AFTER_BYTES, MAX_EXPANSION * path.stat().st_size)
    made = io.BytesIO()
    while block := packed.read(_BLOCK):
        made.write(block)
        if made.tell() > limit:
            raise GalbaseError(
                f"{path.name} expands to more than {MAX_EXPANSION} times its size; unpack it yourself if it is sound."
            )
    return made.getvalue()


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
