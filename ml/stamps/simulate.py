"""Draw Sersic stamps and write them as shards: the same seed and inputs give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.write import file_digest
from galbase.ml.stamps.background import MIN_PATCHES, BlankSky, SimulatedSky
from galbase.ml.stamps.frame import Frame, read_frame
from galbase.ml.stamps.parameters import REFERENCES, SPLIT_SHARE, STAMP_VERSION, StampParameters
from galbase.ml.stamps.psf import PsfSet, check_moffats, half_maximum_fwhm, moffat_images, read_psfs
from galbase.ml.stamps.render import Profiles, draw_profiles, kept_light
from galbase.ml.stamps.shard import MANIFEST, Block, shard_name, write_shard
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int], None]

SHARD_ROWS = 20_000
# stamps are drawn in blocks of this size with a generator each, so that a longer set begins with a shorter one
_BLOCK = 64
_SNR_STEPS = 14


@dataclass(frozen=True)
class StampReport:
    """What was written, and how fast.

    Attributes
    ----------
    out : str
        Folder.
    size, seed : int
        Number of stamps, and seed.
    n_kept : int
        Stamps that lay in the folder already, whole.
    background, psf : str
        Kind of each: real or simulated; moffat or file.
    n_patches : int
        Background patches that do not overlap; 0 for simulated noise.
    n_psf : int
        PSF images of the file; 0 for simulated ones.
    digest : str
        SHA-256 over the shards' digests.
    seconds, stamps_per_second : float
        Wall time of it all, and rate of drawing and writing once frames and PSFs are read, 0 where all were kept.
    """

    out: str
    size: int
    seed: int
    n_kept: int
    background: str
    psf: str
    n_patches: int
    n_psf: int
    digest: str
    seconds: float
    stamps_per_second: float


@dataclass(frozen=True, eq=False)
class StampSource:
    """What stamps are made of: ranges, sky, and PSFs of a file (None for simulated ones)."""

    parameters: StampParameters
    sky: SimulatedSky | BlankSky
    psfs: PsfSet | None
    seed: int


def draw_block(source: StampSource, number: int) -> Block:
    """Draw one block of 64 stamps.

    Parameters
    ----------
    source : StampSource
    number : int
        Block, from 0.
    """
    rng = np.random.default_rng([source.seed, 32, number])
    p = source.parameters
    profiles = _profiles(rng, p)
    split = np.searchsorted(np.cumsum(SPLIT_SHARE), rng.random(_BLOCK), side="right").clip(max=len(SPLIT_SHARE) - 1)
    if source.psfs is None:
        psf, _ = moffat_images(rng, _BLOCK, p)
        psf_row = np.full(_BLOCK, -1)
    else:
        psf_row = rng.integers(len(source.psfs.image), size=_BLOCK)
        psf = source.psfs.image[psf_row]
    shape = draw_profiles(profiles, psf) * kept_light(profiles.n).astype(np.float32)[:, None, None]
    background = source.sky.draw(rng, split)
    variance = background.sigma**2
    if p.mag is None:
        low, high = np.log(p.snr)
        flux = flux_of_snr(shape, np.exp(rng.uniform(low, high, _BLOCK)), variance, p.gain)
    else:
        flux = 10 ** (0.4 * (p.zero_point - rng.uniform(*p.mag, _BLOCK)))
    model = shape * flux.astype(np.float32)[:, None, None]
    snr = np.sqrt(_information(model, variance, p.gain))
    # ringing of the transform leaves pixels below zero by 1e-7 of the peak; light cannot be
    photons = rng.poisson(np.maximum(model, 0) * p.gain)
    image = (photons / p.gain).astype(np.float32) + background.image
    truth = {
        "mag": p.zero_point - 2.5 * np.log10(flux),
        "flux": flux,
        "re_arcsec": profiles.re_px * p.pixel_scale_arcsec,
        "n": profiles.n,
        "q": profiles.q,
        "pa_deg": np.degrees(profiles.pa_rad),
        "dx_px": profiles.dx,
        "dy_px": profiles.dy,
        "snr": snr,
        "sky_sigma": background.sigma,
        "psf_fwhm_arcsec": half_maximum_fwhm(psf) * p.pixel_scale_arcsec,
    }
    origin = {
        "split": split,
        "psf_row": psf_row,
        "background_frame": background.frame,
        "background_x": background.x,
        "background_y": background.y,
        "background_orientation": background.orientation,
    }
    return Block(image, psf, truth, {name: value.astype(np.int32) for name, value in origin.items()})


def _profiles(rng: np.random.Generator, p: StampParameters) -> Profiles:
    def log_uniform(low: float, high: float) -> FloatArray:
        return np.exp(rng.uniform(np.log(low), np.log(high), _BLOCK))

    return Profiles(
        n=log_uniform(*p.n),
        re_px=log_uniform(*p.re_px),
        q=rng.uniform(*p.q, _BLOCK),
        pa_rad=rng.uniform(0, np.pi, _BLOCK),
        dx=rng.uniform(-p.offset_px, p.offset_px, _BLOCK),
        dy=rng.uniform(-p.offset_px, p.offset_px, _BLOCK),
    )


def _information(model: NDArray[np.float32], variance: FloatArray, gain: float) -> FloatArray:
    """Squared S/N of the stamp: sum of model^2 / (sky variance + model / gain)."""
    light = np.maximum(model, 0)
    noise = light / np.float32(gain) + variance.astype(np.float32)[:, None, None]
    total: FloatArray = (light * light / noise).sum(axis=(1, 2), dtype=np.float64)
    return total


def flux_of_snr(shape: NDArray[np.float32], snr: FloatArray, variance: FloatArray, gain: float) -> FloatArray:
    """Flux at which a galaxy of this shape has this S/N.

    Parameters
    ----------
    shape : (m, 61, 61) float32
        Light of unit total flux.
    snr, variance : (m,) float64
        Wanted S/N, and sky variance a pixel [image unit squared].
    gain : float
        Electrons in one image unit.

    Returns
    -------
    (m,) float64
        Flux [image unit]. S/N rises between as F and as sqrt(F), so the steps F <- F S / S(F) close in by half each.
    """
    flux = snr * np.sqrt(variance / (shape.astype(np.float64) ** 2).sum(axis=(1, 2)))
    for _ in range(_SNR_STEPS):
        flux = flux * snr / np.sqrt(_information(shape * flux.astype(np.float32)[:, None, None], variance, gain))
    result: FloatArray = flux
    return result


def _blocks(source: StampSource, start: int, stop: int, workers: int) -> Iterator[tuple[int, Block]]:
    """Blocks in order, a few ahead of the writer, cut to the rows wanted."""
    numbers = range(start // _BLOCK, -(-stop // _BLOCK))
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, Future[Block]]] = deque()

        def cut(number: int, block: Block) -> tuple[int, Block]:
            first = max(start, number * _BLOCK)
            return first, block.rows(first - number * _BLOCK, min(stop, (number + 1) * _BLOCK) - number * _BLOCK)

        for number in numbers:
            waiting.append((number, pool.submit(draw_block, source, number)))
            if len(waiting) > workers:
                done, future = waiting.popleft()
                yield cut(done, future.result())
        while waiting:
            done, future = waiting.popleft()
            yield cut(done, future.result())


def simulate_stamps(
    out: Path,
    size: int,
    seed: int,
    *,
    parameters: StampParameters | None = None,
    backgrounds: Sequence[Path] = (),
    psf: Path | None = None,
    given: frozenset[str] = frozenset(),
    min_patches: int = MIN_PATCHES,
    workers: int | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> StampReport:
    """Draw stamps and write shards and a manifest.

    Parameters
    ----------
    out : Path
        Folder, new or of the same set.
    size, seed : int
        Number of stamps, and seed.
    parameters : StampParameters, optional
        Ranges and instrument. Frames in nanomaggies set the zero point themselves, frames with WCS the pixel scale.
    backgrounds : sequence of Path
        Frames to cut blank sky from; none for simulated noise.
    psf : Path, optional
        FITS file of PSF images or of a frame with stars; None for simulated Moffats.
    given : frozenset of str
        Parameters that were chosen on purpose: frames do not overrule them.
    min_patches : int
        Fewest background patches that do not overlap.
    workers : int, optional
        Threads; the number of processors, at most 4, by default. The result does not depend on it.
    shard_rows : int
        Stamps in one shard.
    progress : callable, optional
        Called with (stamps done, stamps in all).

    Raises
    ------
    GalbaseError
        If sizes make no sense, the folder holds something else, or the frames or PSFs cannot serve.
    """
    if size < 1 or seed < 0 or shard_rows < 1:
        raise GalbaseError(
            f"size {size}, seed {seed}, rows a shard {shard_rows}: ask for at least one stamp, a seed that is not "
            "negative and shards of at least one row."
        )
    began = time.perf_counter()
    parameters = parameters or StampParameters()
    frames = [read_frame(path) for path in backgrounds]
    parameters = calibrated(parameters, frames, given)
    sky = BlankSky(frames, seed, min_patches) if frames else SimulatedSky(parameters)
    psfs = read_psfs(psf) if psf else None
    if psfs is None:
        check_moffats(parameters)
    source = StampSource(parameters, sky, psfs, seed)
    record = {
        "version": STAMP_VERSION,
        "size": size,
        "seed": seed,
        "shard_rows": shard_rows,
        "parameters": asdict(parameters),
        "references": REFERENCES,
        "background": {
            "kind": sky.kind,
            "frames": [{"name": frame.name, "sha256": frame.digest} for frame in frames],
            "patches_without_overlap": sky.patches_by_split if isinstance(sky, BlankSky) else {},
        },
        "psf": {
            "kind": "file" if psfs else "moffat",
            "file": psf.name if psf else None,
            "sha256": file_digest(psf) if psf else None,
            "images": [
                {"origin": origin, "light_kept": round(float(kept), 6)}
                for origin, kept in zip(psfs.origin, psfs.kept, strict=True)
            ]
            if psfs
            else [],
        },
    }
    record = json.loads(json.dumps(record))
    known = _claim_folder(out, record)
    files: dict[str, str] = {}
    n_kept = 0
    drawing = time.perf_counter()
    threads = workers or min(4, os.cpu_count() or 1)
    for start in range(0, size, shard_rows):
        stop = min(start + shard_rows, size)
        path = out / shard_name(start, stop)
        if path.is_file() and file_digest(path) == known.get(path.name):
            files[path.name] = known[path.name]
            n_kept += stop - start
            if progress:
                progress(stop, size)
            continue

        def counted(start: int = start, stop: int = stop) -> Iterator[tuple[int, Block]]:
            for first, block in _blocks(source, start, stop, threads):
                yield first - start, block
                if progress:
                    progress(first + len(block), size)

        write_shard(path, stop - start, counted(), parameters, sky.kind)
        files[path.name] = file_digest(path)
        _write_manifest(out, record | {"files": files})
    digest = hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()
    _write_manifest(out, record | {"files": files, "digest": digest})
    rate = (size - n_kept) / (time.perf_counter() - drawing)
    seconds = time.perf_counter() - began
    n_patches = sky.n_patches if isinstance(sky, BlankSky) else 0
    n_psf = len(psfs.image) if psfs else 0
    kind = record["psf"]["kind"]
    return StampReport(str(out), size, seed, n_kept, sky.kind, kind, n_patches, n_psf, digest, seconds, rate)


def calibrated(
    parameters: StampParameters, frames: Sequence[Frame], given: frozenset[str] = frozenset()
) -> StampParameters:
    """Take zero point and pixel scale from frames that know them, unless they were given.

    Parameters
    ----------
    parameters : StampParameters
    frames : sequence of Frame
    given : frozenset of str
        Parameters that the user chose.

    Raises
    ------
    GalbaseError
        If frames disagree, or know neither and nothing was given.
    """
    for name, option, tolerance in (
        ("zero_point", "--zero-point", 0.005),
        ("pixel_scale_arcsec", "--pixel-scale", 0.01 * parameters.pixel_scale_arcsec),
    ):
        if name in given or not frames:
            continue
        known = {frame.name: getattr(frame, name) for frame in frames}
        missing = [frame for frame, value in known.items() if value is None]
        if missing:
            raise GalbaseError(f"{', '.join(missing)} does not say its {name}; give {option}.")
        values = np.array(list(known.values()), dtype=np.float64)
        if np.ptp(values) > tolerance:
            raise GalbaseError(
                f"the background frames have different {name}: {known}. Make one set of stamps for each instrument."
            )
        parameters = replace(parameters, **{name: float(np.median(values))})  # type: ignore[arg-type]
    return parameters


def _claim_folder(out: Path, record: dict[str, object]) -> dict[str, str]:
    """Digests by name of the shards that an earlier run finished."""
    manifest = out / MANIFEST
    if manifest.exists():
        known = json.loads(manifest.read_text())
        changed = sorted(key for key in record if known.get(key) != record[key])
        if changed:
            raise GalbaseError(
                f"{out} holds stamps made with other {', '.join(changed)}; name another folder, or remove that one."
            )
        return dict(known["files"])
    if out.exists() and any(out.iterdir()):
        raise GalbaseError(f"{out} is not empty and holds no set of stamps; name a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    _write_manifest(out, record | {"files": {}})
    return {}


def _write_manifest(out: Path, record: dict[str, object]) -> None:
    """Without a digest the set is unfinished."""
    partial = (out / MANIFEST).with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(out / MANIFEST)
