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
_log = logging.getLogger(__name__)


def native_hash(release: str, native_id: str, salt: int = 0) -> int:
    """35-bit BLAKE2b hash of a detection's release and its survey's own id; `salt` > 0 resolves a collision."""
    text = f"{release}\x1f{native_id}" + (f"\x1f{salt}" if salt else "")
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - HASH_BITS)


def source_ids(
    release: str, native_ids: Sequence[str], hpx29: npt.NDArray[np.int64], taken: dict[int, str] | None = None
) -> npt.NDArray[np.int64]:
    """Source ids of detections: (order-12 nested pixel << 35) | 35-bit hash of (release, native id).

    Parameters
    ----------
    release : str
        Name of the data release.
    native_ids : sequence of str
        The survey's own ids, unique within the release.
    hpx29 : ndarray of int64, shape (n,)
        HEALPix nested order-29 indices.
    taken : dict of int to str, optional
        Ids that other detections hold already (source_id -> "release/native id"); a collision is re-salted.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    GalbaseError
        If two rows have the same native id.
    """
    pixels = np.asarray(hpx29, np.int64) >> (2 * (29 - PIXEL_ORDER))
    used: dict[int, str] = dict(taken or {})
    seen: set[str] = set()
    ids = np.empty(len(native_ids), np.int64)
    # A collision is settled in the order of the native ids, so that the order of rows in a file does not matter.
    for i in sorted(range(len(native_ids)), key=native_ids.__getitem__):
        native = native_ids[i]
        if native in seen:
            raise GalbaseError(f"release {release}: the id {native!r} occurs twice; ids must be unique.")
        seen.add(native)
        owner, salt = f"{release}/{native}", 0
        candidate = (int(pixels[i]) << HASH_BITS) | native_hash(release, native)
        while used.get(candidate, owner) != owner:
            salt += 1
            _log.warning("source_id %d of %s is taken by %s: salt %d", candidate, owner, used[candidate], salt)
            candidate = (int(pixels[i]) << HASH_BITS) | native_hash(release, native, salt)
        used[candidate] = owner
        ids[i] = candidate
    return ids
