"""One shard of a survey: images, spectra, and the part of the catalogues that its galaxies have."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.block import BLOCK_ROWS, Block, BlockTables, Plan, draw_block, tabulate
from galbase.ml.simulate.fits_stream import Columns
from galbase.ml.simulate.images import CAMERAS, conditions, pixel_scale, render_rows
from galbase.ml.simulate.spec_file import SpecHead, spec_bytes, spec_path
from galbase.ml.simulate.spectrum import FLUX_UNIT, fibre_spectrum, observe
from galbase.ml.simulate.write import ShardWriter, file_digest, joined, legacy_datasets, shard_name

FOLDERS = {"legacy": "legacysurvey", "sdss": "sdss"}
TABLES = ("sweep", "truth", "labels", "stellarpop")
SPECTRA_FOLDER = "sdss/spectra"

_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Shard:
    """Rows start to stop of the survey."""

    number: int
    start: int
    stop: int

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """(block, first row, last row) within each block that the shard touches."""
        for block in range(self.start // BLOCK_ROWS, (self.stop - 1) // BLOCK_ROWS + 1):
            offset = block * BLOCK_ROWS
            yield block, max(self.start - offset, 0), min(self.stop - offset, BLOCK_ROWS)

    def image_path(self, out: Path, survey: str) -> Path:
        """File of its images."""
        return out / FOLDERS[survey] / shard_name(self.start, self.stop, CAMERAS[survey].canvas.size)

    def part_path(self, out: Path) -> Path:
        """File of its part of the catalogues, kept until the survey is whole."""
        return out / "parts" / f"part-{self.number:05d}.npz"


@dataclass(frozen=True)
class ShardReport:
    """Digests of a shard's files, and how many spectra it has."""

    files: dict[str, str]
    n_labelled: int
    n_spectrum: int


# a block on the seam of two shards is drawn once
@lru_cache(maxsize=2)
def _drawn(plan: Plan, number: int) -> tuple[Block, BlockTables]:
    block = draw_block(plan, number)
    return block, tabulate(plan, block)


def make_shard(
    plan: Plan, shard: Shard, out: Path, pool: Executor, ahead: int, advance: Callable[[int], None]
) -> ShardReport:
    """Draw, render and write a shard.

    Parameters
    ----------
    plan : Plan
        The survey.
    shard : Shard
        Which rows.
    out : Path
        Folder of the survey.
    pool : concurrent.futures.Executor
        Threads that render and that make spectra.
    ahead : int
        Pieces of work in flight beyond the one awaited, which bounds the memory.
    advance : callable
        Called with the number of galaxies newly done.
    """
    n = shard.stop - shard.start
    writers = {
        survey: ShardWriter(
            shard.image_path(out, survey),
            (n, len(CAMERAS[survey].bands), CAMERAS[survey].canvas.size, CAMERAS[survey].canvas.size),
            {} if survey == "legacy" else _attributes(survey, plan),
        )
        for survey in plan.surveys
    }
    parts: dict[str, list[Columns]] = {name: [] for name in (*TABLES, *plan.surveys)}
    digest, n_spectrum, done = hashlib.sha256(), 0, 0
    try:
        for number, first, last in shard.pieces():
            block, tables = _drawn(plan, number)
            near = np.empty(last - first, np.int32)
            for at, images, count in _rendered(plan, block, first, last, pool, ahead):
                for survey, stamps in images.items():
                    writers[survey].write(done + at - first, stamps)
                near[at - first : at - first + len(count)] = count
                advance(len(count))
            for path, content in _spectra(plan, block, tables, first, last, out, pool, ahead):
                path.write_bytes(content)
                digest.update(path.name.encode() + hashlib.sha256(content).digest())
                n_spectrum += 1
            _add_tables(parts, plan, block, tables, first, last, near)
            done += last - first
        for survey, writer in writers.items():
            inds = {"inds": np.arange(shard.start, shard.stop, dtype=np.int64)}
            writer.finish(joined(parts[survey]) | inds)
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    files = {
        path.relative_to(out).as_posix(): file_digest(path)
        for path in (shard.image_path(out, survey) for survey in plan.surveys)
    }
    if n_spectrum:
        files[f"{SPECTRA_FOLDER} of shard {shard.number}"] = digest.hexdigest()
    tables_of = {name: joined(parts[name]) for name in TABLES}
    report = ShardReport(files, len(tables_of["labels"]["SPECOBJID"]), n_spectrum)
    _save_part(shard.part_path(out), tables_of, report)
    return report


def _attributes(survey: str, plan: Plan) -> dict[str, object]:
    return {"bands": list(CAMERAS[survey].bands), "pixel_scale_arcsec": pixel_scale(survey, plan.parameters)}


def _rendered(
    plan: Plan, block: Block, first: int, last: int, pool: Executor, ahead: int
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]], NDArray[np.int32]]]:
    """Stamps in order, a few pieces ahead of the reader."""
    waiting: deque[tuple[int, Future[tuple[dict[str, NDArray[np.float32]], NDArray[np.int32]]]]] = deque()
    for at in range(first, last, _ROWS_AT_ONCE):
        stop = min(at + _ROWS_AT_ONCE, last)
        waiting.append((at, pool.submit(render_rows, block, at, stop, plan.surveys, plan.seed, plan.parameters)))
        if len(waiting) > ahead:
            begun, future = waiting.popleft()
            yield begun, *future.result()
    while waiting:
        begun, future = waiting.popleft()
        yield begun, *future.result()


def chosen_spectra(plan: Plan, block: Block) -> list[tuple[int, int]]:
    """(row of the block, row of its label table) of the galaxies whose spectra are written, spread over the table."""
    galaxy = block.targeting.in_order()
    count = min(plan.spectra_of(block.first // BLOCK_ROWS), len(galaxy))
    rows = np.unique(np.linspace(0, len(galaxy) - 1, count).astype(np.int64))
    return [(int(galaxy[row]), int(row)) for row in rows]


def _spectra(
    plan: Plan, block: Block, tables: BlockTables, first: int, last: int, out: Path, pool: Executor, ahead: int
) -> Iterator[tuple[Path, bytes]]:
    """Spectrum files of the shard's rows of a block, in the order of specObjID."""
    wanted = [(index, row) for index, row in chosen_spectra(plan, block) if first <= index < last]
    if not wanted:
        return
    weights = block.population.ssp_weights()
    waiting: deque[Future[list[tuple[Path, bytes]]]] = deque()
    for at in range(0, len(wanted), _ROWS_AT_ONCE):
        some = wanted[at : at + _ROWS_AT_ONCE]
        waiting.append(pool.submit(_spectrum_files, plan, block, tables, weights, some, out))
        if len(waiting) > ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _spectrum_files(
    plan: Plan, block: Block, tables: BlockTables, weights: NDArray[np.float64], rows: list[tuple[int, int]], out: Path
) -> list[tuple[Path, bytes]]:
    made, target, labels = [], block.targeting, tables.labels
    for index, row in rows:
        rng = np.random.default_rng([plan.seed, 10, block.first + index])
        model = fibre_spectrum(index, block.population, block.fibre, weights)
        spectrum = observe(rng, model, float(block.signal_to_noise[index]))
        ident, plate, mjd, fiber = (
            int(value[index]) for value in (target.specobjid, target.plate, target.mjd, target.fiberid)
        )
        head = SpecHead(
            ident, plate, mjd, fiber, float(target.ra[index]), float(target.dec[index]), bytes(labels["SUBCLASS"][row]),
            float(labels["Z"][row]), float(labels["Z_ERR"][row]), int(labels["Z_WARNING"][row]),
            float(block.population.z[index]),
        )  # fmt: skip
        area = block.fibre.line_flux_fib[index] / FLUX_UNIT
        made.append((spec_path(out / SPECTRA_FOLDER, plate, mjd, fiber), spec_bytes(head, spectrum, area)))
    return made


def _add_tables(
    parts: dict[str, list[Columns]], plan: Plan, block: Block, tables: BlockTables, first: int, last: int,
    near: NDArray[np.int32],
) -> None:  # fmt: skip
    """Add the rows first to last of a block to the shard's parts."""
    rows = slice(first, last)
    legacy = {name: value[rows] for name, value in tables.legacy.items()}
    parts["sweep"].append({name: value for name, value in legacy.items() if name.isupper()})
    parts["truth"].append({name: value[rows] for name, value in tables.truth.items()} | {"n_neighbour": near})
    order = block.targeting.in_order()
    own = (order >= first) & (order < last)
    for name, columns in (("labels", tables.labels), ("stellarpop", tables.stellarpop)):
        parts[name].append({key: value[own] for key, value in columns.items()})
    for survey in plan.surveys:
        if survey == "legacy":
            parts[survey].append(legacy_datasets(legacy))
            continue
        seen, camera = conditions(survey, block), CAMERAS[survey]
        parts[survey].append(
            {
                "ra": block.sky.ra[rows],
                "dec": block.sky.dec[rows],
                "specobjid": block.targeting.specobjid[rows],
                "ebv": block.sky.ebv[rows].astype(np.float32),
                "psfsize": seen.psf_fwhm_arcsec[rows].astype(np.float32),
                "psfdepth": seen.psf_depth[rows].astype(np.float32),
                "transmission": block.sky.transmission[rows, camera.filters].astype(np.float32),
            }
        )


def _save_part(path: Path, tables: dict[str, Columns], report: ShardReport) -> None:
    flat = {f"{table}/{name}": value for table, columns in tables.items() for name, value in columns.items()}
    note = json.dumps({"files": report.files, "n_labelled": report.n_labelled, "n_spectrum": report.n_spectrum})
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(stream, note=np.array(note), **flat)  # type: ignore[arg-type]
    partial.replace(path)


def read_part(path: Path) -> tuple[dict[str, Columns], ShardReport]:
    """The catalogues of a finished shard, and its report."""
    with np.load(path) as data:
        report = ShardReport(**json.loads(str(data["note"])))
        tables: dict[str, Columns] = {name: {} for name in TABLES}
        for key in data.files:
            table, _, name = key.partition("/")
            if name:
                tables[table][name] = data[key]
    return tables, report
