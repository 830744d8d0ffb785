"""`galbase labels fit`: ages and metallicities of the archive's spectra by full-spectrum fitting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galbase.schema import console

labels = typer.Typer(
    name="labels",
    no_args_is_help=True,
    add_completion=False,
    help="Labels from spectra in the archive.\n\nExample: galbase labels fit --release sdss-dr17 --limit 100",
)


@labels.callback()
def _labels() -> None:
    """Labels from spectra in the archive.

    Example: galbase labels fit --release sdss-dr17 --limit 100
    """


@labels.command()
def fit(
    ctx: typer.Context,
    release: Annotated[str | None, typer.Option(help="Release of the spectra; all releases if not given.")] = None,
    origin: Annotated[str, typer.Option(help="Name of the labels; one a method, for it replaces its own.")] = "ppxf",
    templates: Annotated[
        Path | None,
        typer.Option(
            help="Templates: pPXF's npz (templates, lam, ages, metals, fwhm), an npz with a row a template (flux, "
            "wave_vacuum or wave_air, age_gyr, mh), or a folder of FITS spectra named as MILES'; galbase's own grid if "
            "not given."
        ),
    ] = None,
    template_wavelengths: Annotated[
        str | None, typer.Option(help="vacuum or air, where the templates do not say.")
    ] = None,
    template_fwhm: Annotated[
        float | None, typer.Option(help="Resolution of the templates, FWHM in Angstrom, where they do not say.")
    ] = None,
    realisations: Annotated[int, typer.Option(min=0, help="Fits with noise added, for the error; 0 for none.")] = 100,
    band: Annotated[
        str, typer.Option(help="Rest-frame band that luminosity weights are of: sdss-r, or LOW-HIGH in Angstrom.")
    ] = "sdss-r",
    lines: Annotated[str, typer.Option(help="Emission lines: fit or mask.")] = "fit",
    continuum: Annotated[
        str, typer.Option(help="dust (Calzetti, A_V fitted) or polynomial (multiplicative, degree 10).")
    ] = "dust",
    refit_kinematics: Annotated[
        bool, typer.Option("--refit-kinematics", help="Fit velocities of each realisation anew, as published.")
    ] = False,
    estimate: Annotated[
        str, typer.Option(help="fit, as published, or mean over the realisations, which scatters a tenth less.")
    ] = "fit",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the realisations' noise.")] = 1,
    evaluation_only: Annotated[
        bool, typer.Option("--evaluation-only", help="Keep the labels out of selections that do not name them.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many spectra now.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers if there is no scheduler; one a core if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON object.")] = False,
) -> None:
    """Fit spectra with pPXF: light-weighted age (log10 of years) and metallicity, as labels log_age and mh.

    Only spectra without a current fit are fitted; one that gives no label is kept with the reason in
    archive.label_fit. Needs pPXF, which the extra `labels` installs and whose licence is for non-commercial use only.

    Example: galbase labels fit --release sdss-dr17 --templates mastar.npz --template-wavelengths vacuum
    """
    from galbase.ml.labels.jobs import TemplateFile, fit_labels
    from galbase.ml.labels.options import FitOptions

    path = None if templates is None else str(templates.expanduser().absolute())
    options = FitOptions(
        realisations=realisations,
        band=band,
        lines=lines,
        continuum=continuum,
        refit_kinematics=refit_kinematics,
        estimate=estimate,
        seed=seed,
    )
    with console.progress("labels", unit="spectra") as progress:
        done = fit_labels(
            ctx.obj,
            release=release,
            origin=origin,
            templates=TemplateFile(path, template_wavelengths, template_fwhm),
            options=options,
            evaluation_only=evaluation_only,
            limit=limit,
            scheduler=scheduler or ctx.obj.scheduler,
            workers=workers,
            progress=progress,
        )
    payload: dict[str, Any] = {
        "release": release,
        "origin": origin,
        "run_id": done.run_id,
        "templates": done.method["templates"]["name"],
        "templates_sha256": done.method["templates"]["sha256"],
        "band": band,
        "spectra": done.n_row,
        "fitted": done.n_fitted,
        "without_label": done.n_row - done.n_fitted,
        "labels_removed": done.n_removed,
    }
    if as_json:
        console.report(payload | {"reasons": dict(done.reasons), "options": options.to_dict()}, True)
        return
    console.report(payload, False)
    if done.reasons:
        console.table(["why without label", "spectra"], list(done.reasons.items()))
