"""Files of stamps: the bits come back, damage is seen, and nothing half-written stands under a name."""

import os
from pathlib import Path

import numpy as np
import pytest

from galbase.ingest.preprocess.config import PreprocessConfig, preset
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.stamp import FramedTarget, frame_target, masked_stamp
from galbase.ingest.preprocess.stamp_file import (
    Stamp,
    UnusableStampFileError,
    content_hash,
    encode,
    read_stamps,
    write_once,
)

GRZ = ("g", "r", "z")


def target(rng: np.random.Generator, side: int = 21, n_band: int = 3, is_display: bool = False) -> FramedTarget:
    """Any finite bits, -0 and subnormal numbers among them, under any mask."""
    bits = rng.integers(0, 2**32, (side, side, n_band), dtype=np.uint32).view(np.float32)
    pixels = np.where(np.isfinite(bits), bits, np.float32(-0.0))
    return FramedTarget(pixels, rng.random((side, side)) < rng.random(), GRZ[:n_band], is_display)


def written(folder: Path, stamps: list[Stamp]) -> tuple[Path, str]:
    content = encode(stamps)
    path = folder / "a" / "file.stamps"
    write_once(path, content)
    return path, content_hash(content)


@pytest.mark.parametrize(("n_band", "is_display"), [(3, False), (1, False), (3, True), (2, False)])
def test_every_bit_comes_back(tmp_path: Path, n_band: int, is_display: bool) -> None:
    rng = np.random.default_rng(5)
    stamps = [Stamp(row, f"hash-{row}", target(rng, 21, n_band, is_display)) for row in (7, 3, 11, 2**40)]
    path, digest = written(tmp_path, stamps)
    opened = read_stamps(path, digest)
    assert opened.rows == [3, 7, 11, 2**40]
    for stamp in stamps:
        found = opened.find(stamp.row_index, stamp.input_hash)
        assert found is not None
        assert np.array_equal(found.mask, stamp.target.mask)
        expected = np.where(stamp.target.mask[..., None], stamp.target.pixels, np.float32(0))
        assert found.pixels.tobytes() == expected.tobytes() == stamp.target.masked().pixels.tobytes()
        assert (found.bands, found.is_display) == (stamp.target.bands, is_display)
    assert opened.find(7, "hash of another verdict") is None
    assert opened.find(8, "hash-8") is None
    # The same stamps in another order are the same file.
    assert content_hash(encode(stamps[::-1])) == digest


def test_an_empty_mask_and_a_full_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = target(rng).pixels
    masks = {1: np.zeros((21, 21), bool), 2: np.ones((21, 21), bool), 3: np.zeros((21, 21), bool)}
    stamps = [Stamp(row, "h", FramedTarget(pixels, mask, GRZ, False)) for row, mask in masks.items()]
    opened = read_stamps(*written(tmp_path, stamps))
    for row, expected in ((1, np.zeros_like(pixels)), (2, pixels), (3, np.zeros_like(pixels))):
        found = opened.find(row, "h")
        assert found is not None
        assert found.pixels.tobytes() == expected.tobytes()


def test_any_damage_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path, digest = written(tmp_path, [Stamp(row, "h", target(rng)) for row in range(3)])
    content = path.read_bytes()
    for place in rng.integers(0, len(content), 40):
        broken = bytearray(content)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        with pytest.raises(UnusableStampFileError, match="is not what was written"):
            read_stamps(path, digest)
    for cut in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(UnusableStampFileError, match="is not what was written"):
            read_stamps(path, digest)
    path.unlink()
    with pytest.raises(UnusableStampFileError, match="cannot be read: No such file"):
        read_stamps(path, digest)
    # Right by its hash, and no stamps at all.
    path.write_bytes(b"something else")
    with pytest.raises(UnusableStampFileError, match="holds no stamps"):
        read_stamps(path, content_hash(b"something else"))


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_once(tmp_path / "a" / "file.stamps", b"content")
    assert list((tmp_path / "a").iterdir()) == []


def galaxy(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:152, :152] - 75.5
    profile = rng.uniform(0.05, 0.2) * np.exp(-np.hypot(x, y / rng.uniform(0.5, 1)) / rng.uniform(2, 4))
    return (rng.normal(0, 0.002, (152, 152, 3)) + profile[..., None] * [0.5, 1, 1.5]).astype(np.float32)


@pytest.mark.parametrize(
    "config",
    [preset("improved"), preset("galeffnet").with_options({"contours_of": "regions"}), preset("galeffnet_code")],
    ids=["improved", "regions", "code"],
)
def test_a_stamp_of_the_masked_target_is_the_verdicts(tmp_path: Path, config: PreprocessConfig) -> None:
    n_kept = 0
    for seed in range(12):
        verdict = preprocess_cutout(galaxy(seed), GRZ, 0.262, False, config)
        if verdict.ellipse is None:
            continue
        framed = frame_target(galaxy(seed), GRZ, 0.262, False, verdict.ellipse, config)
        if verdict.framed is not None:
            assert np.array_equal(verdict.framed.mask, framed.mask)
            assert verdict.framed.pixels.tobytes() == framed.pixels.tobytes()
        path, digest = written(tmp_path, [Stamp(0, "h", framed)])
        cached = read_stamps(path, digest).find(0, "h")
        assert cached is not None
        assert np.array_equal(masked_stamp(cached, config), verdict.stamp)
        n_kept += 1
    assert n_kept >= 8
