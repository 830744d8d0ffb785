"""Files of preprocessed stamps: written once, under a name of their content, and read back only as written.

Of a stamp only the pixels inside the mask are stored, with the mask as bits: what lies outside is shown to no network.
A file is read as a whole and in one go, and its hash is compared before anything in
it is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.stamp import FramedTarget
from galbase.schema.errors import GalbaseError

# Raise when the layout changes; files of other layouts are then made anew.
LAYOUT = 1
SUFFIX = ".stamps"
PARTIAL_SUFFIX = ".partial"


class UnusableStampFileError(GalbaseError):
    """A file of stamps is gone or not what was written; its stamps must be made from the survey's file."""


@dataclass(frozen=True)
class Stamp:
    """A stamp and what it was made from.

    Parameters
    ----------
    row_index : int
        Row of the image in the survey's file.
    input_hash : str
        Of the verdict that it belongs to: pixels, configuration and algorithm.
    target : FramedTarget
        Pixels outside the mask are 0.
    """

    row_index: int
    input_hash: str
    target: FramedTarget


class StampFile:
    """An opened file of stamps, each made when it is asked for."""

    def __init__(self, parts: dict[str, npt.NDArray[Any]]) -> None:
        self._about: list[dict[str, Any]] = json.loads(parts["about"].tobytes())
        self._mask, self._value = parts["mask"], parts["value"]
        self._end = np.cumsum(parts["n_pixel"])
        self._place = {int(each["row_index"]): k for k, each in enumerate(self._about)}

    @property
    def rows(self) -> list[int]:
        """Rows of the survey's file whose stamps are here, in order."""
        return list(self._place)

    def find(self, row_index: int, input_hash: str) -> FramedTarget | None:
        """The stamp of a row; None if it is not here or belongs to another verdict."""
        place = self._place.get(row_index)
        if place is None or self._about[place]["input_hash"] != input_hash:
            return None
        return self._target(place)

    def stamps(self) -> list[Stamp]:
        """All stamps, in order of row."""
        return [Stamp(row, self._about[k]["input_hash"], self._target(k)) for row, k in self._place.items()]

    def _target(self, place: int) -> FramedTarget:
        about, end = self._about[place], int(self._end[place])
        side, n_band = about["side"], len(about["bands"])
        mask = np.unpackbits(self._mask[place], count=side * side).astype(np.bool_).reshape(side, side)
        chosen = np.flatnonzero(mask)
        pixels = np.zeros((side * side, n_band), np.float32)
        pixels[chosen] = self._value[end - len(chosen) : end]
        return FramedTarget(pixels.reshape(side, side, n_band), mask, tuple(about["bands"]), about["is_display"])


def encode(stamps: Sequence[Stamp]) -> bytes:
    """The content of a file: the same stamps give the same bytes.

    Parameters
    ----------
    stamps : sequence of Stamp
        At least one; of one side and one number of bands, as those of one survey file and configuration are.
    """
    from safetensors.numpy import save

    ordered = sorted(stamps, key=lambda stamp: stamp.row_index)
    about = [
        {
            "row_index": stamp.row_index,
            "input_hash": stamp.input_hash,
            "side": stamp.target.mask.shape[0],
            "bands": stamp.target.bands,
            "is_display": stamp.target.is_display,
        }
        for stamp in ordered
    ]
    masks = [stamp.target.mask for stamp in ordered]
    parts = {
        "layout": np.array([LAYOUT], np.int64),
        "about": np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8),
        "mask": np.stack([np.packbits(mask.ravel()) for mask in masks]),
        "n_pixel": np.array([np.count_nonzero(mask) for mask in masks], np.int64),
        "value": np.concatenate([stamp.target.pixels[stamp.target.mask] for stamp in ordered]),
    }
    return bytes(save(parts))


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_once(path: Path, content: bytes) -> None:
    """Write a file so that under its name there is all of it or nothing, whenever the machine stops.

    Parameters
    ----------
    path : Path
        Its folder is made if need be; the folder above that must exist.
    content : bytes

    Raises
    ------
    OSError
        If it cannot be written; nothing is left then.
    """
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # The name, too, must have reached the disk before the database knows of it.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_stamps(path: Path, expected_hash: str) -> StampFile:
    """Read a file of stamps.

    Parameters
    ----------
    path : Path
    expected_hash : str
        `content_hash` of what was written.

    Raises
    ------
    UnusableStampFileError
        If it is not there, cannot be read, has other content or another layout.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnusableStampFileError(f"{path} cannot be read: {error.strerror}. Fill the cache anew.") from error
    if content_hash(content) != expected_hash:
        raise UnusableStampFileError(f"{path} is not what was written; the disk may be failing. Fill the cache anew.")
    try:
        parts = load(content)
        if parts["layout"].tolist() == [LAYOUT]:
            return StampFile(parts)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UnusableStampFileError(f"{path} holds no stamps: {error}. Fill the cache anew.") from error
    raise UnusableStampFileError(f"{path} has another layout than this version's, {LAYOUT}. Fill the cache anew.")
