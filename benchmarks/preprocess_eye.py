"""Verdicts on real images to be judged by eye: 60 of four samples in montages of 12, and a JSON line an image.

``python benchmarks/preprocess_eye.py --out FOLDER [--config NAME ...] [--seed SEED]``: the choice is the same at every
run. The samples lie in ``$GALBASE_TEST_DATA``: colour images with and without positions, and cutouts about the sources
of an SDSS frame.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sep
from astropy.io import fits

from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.overlay import see
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.verdict_picture import Case, draw_montage

SEED = 20261122
# Images of each sample.
N_IMAGE = {"sdss-pairs": 4, "gz-coords-sample": 12, "gz-example-images": 26, "sdss-frame": 18}
A_MONTAGE = 12
FRAME_SCALE_ARCSEC = 0.396
FRAME_STAMP_PX = 152
# Nanomaggies: g of 20.75 mag, above which a source's shape can be told by eye.
LEAST_FLUX = 5.0


@dataclass(frozen=True)
class Image:
    """An image of a sample, with what `preprocess_cutout` asks."""

    sample: str
    name: str
    pixels: npt.NDArray[np.float32]
    bands: tuple[str, ...]
    scale: float | None
    is_display: bool


def display_images(folder: Path, sample: str) -> Iterator[Image]:
    files = sorted(path for path in (folder / sample).rglob("images/**/*") if path.suffix in (".jpg", ".jpeg", ".png"))
    for path in files:
        cutouts = read_cutouts(path, "png" if path.suffix == ".png" else "jpeg")
        yield Image(sample, path.name, cutouts.pixels[0], cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display)


def frame_images(folder: Path) -> Iterator[Image]:
    """Cutouts about all sources of the frame that are bright enough and not at its edge."""
    with fits.open(next((folder / "sdss-frame").glob("frame-*.fits.bz2"))) as hdus:
        data = np.ascontiguousarray(hdus[0].data, np.float32)
    sky = sep.Background(data)
    found = sep.extract(data - sky.back(), 3.0, err=sky.globalrms, minarea=12)
    half = FRAME_STAMP_PX // 2
    for source in found[found["flux"] > LEAST_FLUX]:
        x, y = round(float(source["x"])), round(float(source["y"]))
        stamp = data[y - half : y + half, x - half : x + half]
        if min(x, y) >= half and stamp.shape == (FRAME_STAMP_PX, FRAME_STAMP_PX):
            yield Image("sdss-frame", f"x {x}, y {y}", stamp[..., None], ("g",), FRAME_SCALE_ARCSEC, False)


def choose(folder: Path, seed: int) -> list[Image]:
    rng = np.random.default_rng(seed)
    chosen = []
    for sample, n in N_IMAGE.items():
        images = list(frame_images(folder) if sample == "sdss-frame" else display_images(folder, sample))
        chosen += [images[i] for i in np.sort(rng.choice(len(images), min(n, len(images)), replace=False))]
    return chosen


def main() -> None:
    """Choose, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", action="append")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    folder = os.environ.get("GALBASE_TEST_DATA")
    if not folder:
        sys.exit("set GALBASE_TEST_DATA to the folder of the samples")
    configs = given.config or ["improved", "galeffnet"]
    cases = []
    for number, image in enumerate(choose(Path(folder), given.seed), 1):
        seen = [(name, see(image.pixels, image.bands, image.scale, image.is_display, preset(name))) for name in configs]
        cases.append(Case(f"{number}. {image.sample}: {image.name}", image.is_display, seen))
        verdicts = {
            name: {"kept": overlay.verdict.kept, "flags": [str(flag.name) for flag in overlay.verdict.flag],
                   "blend_score": overlay.verdict.blend_score}
            for name, overlay in seen
        }  # fmt: skip
        line = {"benchmark": "preprocess_eye", "case": number, "sample": image.sample, "image": image.name, **verdicts}
        sys.stdout.write(json.dumps(line) + "\n")
    given.out.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(cases), A_MONTAGE):
        part = cases[first : first + A_MONTAGE]
        title = f"images {first + 1} to {first + len(part)} of {len(cases)}, seed {given.seed}"
        draw_montage(part, title, given.out / f"eye-{first // A_MONTAGE + 1}.png")


if __name__ == "__main__":
    main()
