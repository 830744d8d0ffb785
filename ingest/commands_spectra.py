"""`galbase ingest spectra`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galbase.schema import console


def spectra(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files of spectra, or folders that are searched for them.")],
    release: Annotated[str, typer.Option(help="Release the spectra belong to.")],
    wavelengths: Annotated[
        str | None, typer.Option(help="vacuum or air: what wavelengths are, where a file does not say.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786 [processes here].")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes [one a core].", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Load spectra: SDSS, DESI, and others on a logarithmic or linear axis, all in FITS (also .gz, .bz2).

    SDSS spec-PLATE-MJD-FIBER.fits, by specObjID. DESI coadd-*.fits and spectra-*.fits, many a file, by TARGETID, with
    the redshifts of redrock-*.fits beside them. FLUX with IVAR (or ERROR), MASK and WAVE, or with COEFF0 and COEFF1,
    DC-FLAG or WAVE-LOG keywords, one spectrum or a row each with a table of ids and positions. Cubes and the fibres of
    one integral-field unit are refused: no aperture is made up.

    A spectrum belongs to the release's source with its id, or brings one at the position of its fibre.
    A broken file is rejected with its reason, the others load; the exit status is then 1.

    Example: galbase ingest spectra spectra/ --release sdss-dr17
    """
    from galbase.ingest.bulk_load import ingest_turn
    from galbase.ingest.file_job import LedgerRun
    from galbase.ingest.observation_report import observation_totals, write_report
    from galbase.ingest.releases import require_release
    from galbase.ingest.spectrum import ingest_spectra
    from galbase.schema.database import connect

    recorded = {
        "command": "spectra",
        "release": release,
        "paths": [str(path.absolute()) for path in paths],
        "wavelengths": wavelengths,
    }
    with connect(ctx.obj, autocommit=True) as connection, ingest_turn(connection):
        target = require_release(connection, release)
        with console.progress("spectra", unit="files") as progress:
            run = LedgerRun(ctx.obj, recorded, connection, scheduler, workers, progress, console.note)
            report = ingest_spectra(connection, target, paths, wavelengths_in=wavelengths, parallel=run)
        totals = observation_totals(connection, target.release_id, "spectrum")
    write_report(report, totals, as_json)
    if report.rejected:
        raise typer.Exit(1)
