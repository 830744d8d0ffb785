"""Malformed images: FITS, HDF5 shards, JPEG and PNG."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io import fits
from PIL import Image

from tests.ingest.malformed_case import GIB, MIB, Case, bzip2_zeros, cuts, gzip_zeros, of_bytes, patched

CASES: list[Case] = []


def add(name: str, file: str, message: str, data: bytes) -> None:
    CASES.append(Case(name, file, "image", message, of_bytes(lambda: data)))


@lru_cache
def sound(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(1).normal(0, 1, (120, 120)).astype(np.float32)
    if kind == "fits":
        fits.PrimaryHDU(pixels).writeto(stream)
    elif kind == "fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels)]).writeto(stream)
    else:
        Image.fromarray((pixels * 30 + 128).clip(0, 255).astype(np.uint8)).convert("RGB").save(stream, format=kind)
    return stream.getvalue()


FITS, PACKED = sound("fits"), sound("fz")
for where, data in cuts(FITS, 0):
    add(f"FITS image cut {where}", "a.fits", "damaged|cut short", data)
for where, data in cuts(PACKED, 2880):
    add(f"compressed FITS image cut {where}", "a.fits.fz", "damaged|cut short|holds no image", data)
add("FITS image, NAXIS1 of 4 GB", "a.fits", "cut short in HDU 0", patched(FITS, "NAXIS1", 10**9))
add("FITS image, NAXIS of 999", "a.fits", "damaged|cut short", patched(FITS, "NAXIS", 999))
add("FITS image, NAXIS negative", "a.fits", "damaged|cut short|holds no image", patched(FITS, "NAXIS1", -120))
add("FITS image, BITPIX unknown", "a.fits", "damaged|cut short|BITPIX", patched(FITS, "BITPIX", 7))
add("FITS image, pixels that follow the last", "a.fits", "data follow|damaged", patched(FITS, "NAXIS2", 60))
add("FITS image, empty file", "a.fits", "is empty", b"")
add("FITS image, PNG inside", "a.fits", "no FITS file", sound("png"))
big = patched(patched(PACKED, "ZNAXIS1", 10**5, after=2880), "ZNAXIS2", 10**5, after=2880)
add("compressed FITS image of 40 GB", "a.fits.fz", "would take|damaged", big)
head = patched(patched(FITS[:2880], "NAXIS1", GIB // 1024), "NAXIS2", 512)
for suffix, bomb in (("gz", gzip_zeros), ("bz2", bzip2_zeros)):
    add(f"FITS image, {suffix} bomb", f"a.fits.{suffix}", "expands to more than 100 times", bomb(head, 2 * GIB))

# --- HDF5 ---


def shard(change: Callable[[Any], object]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["images"] = np.zeros((4, 3, 16, 16), np.float32)
            file["ra"], file["dec"] = np.arange(4.0), np.arange(4.0)
            change(file)

    return make


def replace(name: str, **options: Any) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def link(name: str, to: Any) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        if name in file:
            del file[name]
        file[name] = to

    return change


def outside(file: Any) -> None:
    del file["ra"]
    file.create_dataset("ra", (4,), "f8", external=[("/etc/hosts", 0, 32)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "ra", (4,))
    del file["ra"]
    file.create_virtual_dataset("ra", layout)


def bomb(file: Any) -> None:
    n = 2 * GIB // 8
    for name in ("images", "ra", "dec"):
        del file[name]
    file.create_dataset("images", (n, 1, 1, 1), "i1", chunks=(MIB, 1, 1, 1))
    for name in ("ra", "dec"):
        data = file.create_dataset(name, (n,), "f8", chunks=(8 * MIB,), compression="gzip", compression_opts=1)
        if name == "ra":
            packed = zlib.compress(bytes(64 * MIB), 1)
            for start in range(0, n, 8 * MIB):
                data.id.write_direct_chunk((start,), packed)


def cyclic(file: Any) -> None:
    file["loop"] = h5py.SoftLink("/loop")
    group = file.create_group("group")
    group["up"] = file["/"]
    file["further"] = h5py.SoftLink("/group/up/group/up/further")


SHARDS = {
    "no ra": (lambda file: file.pop("ra"), "no dataset 'ra'"),
    "a group for ra": (lambda file: (file.pop("ra"), file.create_group("ra")), "'ra'"),
    "text for ra": (replace("ra", data=[b"a", b"b", b"c", b"d"]), "ra"),
    "ra of another length": (replace("ra", data=np.zeros(3)), "ra has shape .3,. beside 4 images"),
    "ra of three axes": (replace("ra", data=np.zeros((4, 1, 1))), "'ra' has shape"),
    "ra for each band": (replace("ra", data=np.zeros((4, 3))), "'ra' has shape"),
    "images of two axes": (replace("images", data=np.zeros((4, 3))), "images has shape"),
    "images of text": (replace("images", data=np.full((4, 3, 2, 2), b"x")), "images"),
    "an external link": (link("ra", h5py.ExternalLink("/etc/hosts", "/ra")), "link"),
    "a soft link to nowhere": (link("ra", h5py.SoftLink("/nowhere")), "link|ra"),
    "loops of links": (cyclic, "link"),
    "data in another file": (outside, "another file|other files"),
    "a virtual dataset": (virtual, "another file|other files"),
    "a deflate bomb": (bomb, "would take"),
    "images of 10^12 rows": (replace("images", shape=(10**12, 1, 1, 1), dtype="i1", chunks=(1024, 1, 1, 1)), "beside"),
    "columns of 10^9 rows": (
        lambda file: [
            replace(name, shape=shape, dtype="f4", chunks=True)(file)
            for name, shape in (("images", (10**9, 1, 1, 1)), ("ra", (10**9,)), ("dec", (10**9,)))
        ], "would take"),
    "a chunk of 2 GB": (
        replace("images", shape=(4, 1, 2**14, 2**13), dtype="f4", chunks=(4, 1, 2**14, 2**13)), "would take"),
    "scale of text": (lambda file: file.attrs.update(pixel_scale_arcsec="wide"), "damaged|scale"),
}  # fmt: skip
CASES += [Case(f"HDF5, {name}", "a.h5", "image", message, shard(change)) for name, (change, message) in SHARDS.items()]


def cut_shard(path: Path, part: float) -> None:
    shard(lambda file: file.create_dataset("x", data=np.random.default_rng(1).random((4, 2000))))(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])


CASES += [
    Case(f"HDF5 cut at {part}", "a.h5", "image", "damaged or no HDF5 file", lambda path, p=part: cut_shard(path, p))
    for part in (0.01, 0.5, 0.99)
]
add("HDF5, empty file", "a.h5", "is empty|damaged or no HDF5", b"")
add("HDF5, FITS inside", "a.h5", "damaged or no HDF5", FITS)

# --- JPEG and PNG ---


def png(width: int, height: int, chunks: bytes = b"", rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_chunk(size: int) -> bytes:
    data = b"Comment\0\0" + zlib.compress(bytes(size), 9)
    return struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))


for kind, suffix in (("png", "png"), ("jpeg", "jpg")):
    whole = sound(kind)
    for part in (0.01, 0.3, 0.95):
        add(f"{kind.upper()} cut at {part}", f"a.{suffix}", "is damaged|is no", whole[: int(part * len(whole))])
    add(f"{kind.upper()}, empty file", f"a.{suffix}", "is empty|is no", b"")
    add(f"{kind.upper()}, FITS inside", f"a.{suffix}", "is no", FITS)
add("PNG, JPEG inside", "a.png", "is no PNG", sound("jpeg"))
zeros = zlib.compressobj(9)
ROWS = b"".join(zeros.compress(bytes(1 + 3 * 12000)) for _ in range(12000)) + zeros.flush()
add("PNG bomb of 412 MiB", "a.png", "pixels", png(12000, 12000, rows=ROWS))
zeros = zlib.compressobj(9)
ROWS = b"".join(zeros.compress(bytes(1 + 3 * 8000)) for _ in range(8000)) + zeros.flush()
add("PNG bomb of 183 MiB", "a.png", "pixels", png(8000, 8000, rows=ROWS))
add("PNG of 4 x 10^9 pixels a side", "a.png", "damaged|pixels", png(2**31 - 1, 2**31 - 1))
add("PNG, a text of 1 GB", "a.png", "damaged|text", png(8, 8, text_chunk(GIB // 4) * 4, zlib.compress(bytes(8 * 25))))
