"""Reads malformed files one by one in a process of its own each, and writes what came of it as JSON lines.

``python -m tests.ingest.refusals FOLDER [PART OF A NAME]``: the files are made in FOLDER. Each line has the case, the
error's class and message, seconds of processor time, and the MiB of memory that reading added to a process that had all
readers imported.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from galbase.ingest.image import read_image_file
from galbase.ingest.readers.generic import read_generic
from galbase.ingest.readers.spectra import read_spectra
from galbase.ingest.readers.table import read_table
from tests.ingest import malformed_images, malformed_spectra, malformed_tables
from tests.ingest.malformed_case import Case

CASES = (*malformed_tables.CASES, *malformed_images.CASES, *malformed_spectra.CASES)
# Beyond this a case fails with MemoryError instead of taking the machine along.
ADDRESS_SPACE = 3 * 2**30


def catalogue(path: Path) -> None:
    read_generic(read_table(path), path.name)


READERS: dict[str, Any] = {"table": catalogue, "image": read_image_file, "spectrum": read_spectra}


def measure(case: Case, path: Path) -> dict[str, Any]:
    """Read the file in a child process and say what came of it."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_SPACE, held + ADDRESS_SPACE))
        started = time.process_time()
        try:
            READERS[case.reader](path)
            error, message = "", ""
        except BaseException as raised:
            error, message = type(raised).__name__, str(raised)
        seconds = time.process_time() - started
        added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        result = {"error": error, "message": message[:2000], "cpu_s": round(seconds, 3), "added_mib": round(added, 1)}
        os.write(send, json.dumps(result).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(child, 0)
    found = json.loads(data) if data else {"error": f"died of {status}", "message": "", "cpu_s": -1, "added_mib": -1}
    return {"case": case.name, "reader": case.reader, "file": path.name, **found}


def warm_up(folder: Path) -> None:
    """Import what readers import when they are first used, by reading one sound file of each kind."""
    sound = {
        "a.fits": malformed_tables.sound(), "a.parquet": malformed_tables.sound("parquet"),
        "a.csv": malformed_tables.sound("csv"), "a.ecsv": malformed_tables.sound("ecsv"),
        "a.vot": malformed_tables.sound("vot"),
    }  # fmt: skip
    for name, data in sound.items():
        (folder / name).write_bytes(data)
        catalogue(folder / name)
    for name, kind in (("i.fits", "fits"), ("i.fits.fz", "fz"), ("i.png", "png"), ("i.jpg", "jpeg")):
        (folder / name).write_bytes(malformed_images.sound(kind))
        read_image_file(folder / name)
    malformed_images.shard(lambda _: None)(folder / "i.h5")
    read_image_file(folder / "i.h5")
    for name in ("sdss", "desi"):
        (folder / f"{name}.fits").write_bytes(malformed_spectra.sound(name))
        read_spectra(folder / f"{name}.fits")


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    folder.mkdir(exist_ok=True)
    warm = folder / "sound"
    warm.mkdir(exist_ok=True)
    warm_up(warm)
    for number, case in enumerate(CASES):
        if wanted.lower() not in case.name.lower():
            continue
        here = folder / str(number)
        here.mkdir()
        case.make(here / case.file)
        sys.stdout.write(json.dumps(measure(case, here / case.file)) + "\n")
        sys.stdout.flush()
        shutil.rmtree(here)


if __name__ == "__main__":
    main()
