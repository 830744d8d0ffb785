"""Identifiers made without coordination: the same at every re-ingest, sorted by sky."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

HASH_BITS = 35
PIXEL_ORDER = 12
_DIGEST_BYTES = 8
_log = logging.getLogger(__name__)

# A survey's own ids as UTF-8; an empty one is no id. Ten times less memory and time than a list of str.
NativeIds = npt.NDArray[np.bytes_]


def as_native_ids(values: Sequence[str | None] | npt.NDArray[np.generic]) -> NativeIds:
    """Ids as UTF-8 bytes; None becomes the empty one.

    Parameters
    ----------
    values : sequence of str or None, or ndarray of str, bytes or integers, shape (n,)

    Returns
    -------
    ndarray of bytes, shape (n,)
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "S":
            return np.asarray(values, np.bytes_)
        if values.dtype.kind in "iu":
            return values.astype("S20")
        if values.dtype.kind == "U":
            return np.asarray(np.strings.encode(values.astype(np.str_), "utf-8"), np.bytes_)
    return np.array([b"" if value is None else str(value).encode() for value in values], np.bytes_)


def native_text(native_id: bytes) -> str | None:
    """One of `NativeIds` as text, None for no id."""
    return native_id.decode("utf-8", "replace") or None


def native_digests(release: str, native_ids: NativeIds) -> npt.NDArray[np.uint64]:
    """64-bit BLAKE2b digests of a release's name and a survey's own ids.

    Parameters
    ----------
    release : str
        Name of the data release.
    native_ids : ndarray of bytes, shape (n,)

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    prefix, blake2b = f"{release}\x1f".encode(), hashlib.blake2b
    joined = b"".join([blake2b(prefix + native, digest_size=_DIGEST_BYTES).digest() for native in native_ids.tolist()])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def native_hash(release: str, native_id: str, salt: int = 0) -> int:
    """35-bit BLAKE2b hash of a detection's release and its survey's own id; `salt` > 0 resolves a collision."""
    text = f"{release}\x1f{native_id}" + (f"\x1f{salt}" if salt else "")
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "big") >> (64 - HASH_BITS)


def source_ids(
    release: str,
    native_ids: Sequence[str] | NativeIds,
    hpx29: npt.NDArray[np.int64],
    taken: dict[int, str] | None = None,
    digests: npt.NDArray[np.uint64] | None = None,
) -> npt.NDArray[np.int64]:
    """Source ids of detections: (order-12 nested pixel << 35) | 35-bit hash of (release, native id).

    Parameters
    ----------
    release : str
        Name of the data release.
    native_ids : sequence of str, or ndarray of bytes, shape (n,)
        The survey's own ids, unique within the release.
    hpx29 : ndarray of int64, shape (n,)
        HEALPix nested order-29 indices.
    taken : dict of int to str, optional
        Ids that other detections hold already (source_id -> "release/native id"); a collision is re-salted.
    digests : ndarray of uint64, shape (n,), optional
        Result of `native_digests` for these ids, where it is known that none occurs twice.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    GalbaseError
        If two rows have the same native id.
    """
    natives = as_native_ids(native_ids)
    if digests is None:
        digests = native_digests(release, natives)
        _refuse_repeated(release, natives, digests)
    pixels = np.asarray(hpx29, np.int64) >> (2 * (29 - PIXEL_ORDER))
    made = (pixels << HASH_BITS) | (digests >> np.uint64(64 - HASH_BITS)).astype(np.int64)
    colliding = repeated(made)
    if taken:
        colliding |= np.isin(made, np.fromiter(taken, np.int64, len(taken)))
    if colliding.any():
        _salt(release, natives, pixels, made, np.flatnonzero(colliding), dict(taken or {}))
    return made


def repeated(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which values occur more than once."""
    ordered = np.sort(values)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(values, twice) if twice.size else np.zeros(len(values), np.bool_)


def _refuse_repeated(release: str, natives: NativeIds, digests: npt.NDArray[np.uint64]) -> None:
    seen: set[bytes] = set()
    for native in natives[repeated(digests)].tolist():
        if native in seen:
            raise GalbaseError(f"release {release}: the id {native_text(native)!r} occurs twice; ids must be unique.")
        seen.add(native)


def _salt(
    release: str,
    natives: NativeIds,
    pixels: npt.NDArray[np.int64],
    made: npt.NDArray[np.int64],
    rows: npt.NDArray[np.intp],
    used: dict[int, str],
) -> None:
    """Settle the ids of colliding rows, in place."""
    alone = np.ones(len(made), np.bool_)
    alone[rows] = False
    others = np.sort(made[alone])
    # A collision is settled in the order of the native ids, so that the order of rows in a file does not matter.
    for row in sorted(rows.tolist(), key=natives.__getitem__):
        native = natives[row].decode()
        owner, salt = f"{release}/{native}", 0
        candidate = (int(pixels[row]) << HASH_BITS) | native_hash(release, native)
        while used.get(candidate, owner) != owner or (salt and _holds(others, candidate)):
            salt += 1
            _log.warning("source_id %d of %s is taken by %s: salt %d", candidate, owner, used.get(candidate), salt)
            candidate = (int(pixels[row]) << HASH_BITS) | native_hash(release, native, salt)
        used[candidate] = owner
        made[row] = candidate


def _holds(ordered: npt.NDArray[np.int64], value: int) -> bool:
    place = int(np.searchsorted(ordered, value))
    return place < len(ordered) and int(ordered[place]) == value
