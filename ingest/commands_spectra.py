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
    from galbase.ingest.galaxies import rebuild_galaxies
    from galbase.ingest.observation_report import observation_totals, write_report
    from galbase.ingest.releases import require_release
    from galbase.ingest.spectrum import ingest_spectra
    from galbase.schema.database import connect
    from galbase.schema.ledger import finish_run, start_run

    with connect(ctx.obj, autocommit=True) as connection:
        target = require_release(connection, release)
        run = start_run(
            connection,
            "ingest",
            {
                "command": "spectra",
                "release": release,
                "paths": [str(path.absolute()) for path in paths],
                "wavelengths": wavelengths,
            },
        )
        try:
            with console.progress("spectra", unit="files") as progress:
                report = ingest_spectra(
                    connection, target, paths, wavelengths_in=wavelengths, run_id=run, advance=progress.advance
                )
            if report.wrote:
                rebuild_galaxies(connection)
        except BaseException as error:
            finish_run(connection, run, "failed", str(error))
            raise
        finish_run(connection, run, "done", f"{report.loaded} files loaded, {len(report.rejected)} rejected")
        totals = observation_totals(connection, target.release_id, "spectrum")
    write_report(report, totals, as_json)
    if report.rejected:
        raise typer.Exit(1)
