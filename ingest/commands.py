"""Command group `galbase ingest`."""

from __future__ import annotations

import typer

from galbase.ingest.commands_catalogue import catalogue
from galbase.ingest.commands_images import images
from galbase.ingest.commands_labels import labels
from galbase.ingest.commands_spectra import spectra

ingest = typer.Typer(
    name="ingest",
    no_args_is_help=True,
    add_completion=False,
    help="Read survey files into the archive.\n\n"
    "Example: galbase ingest catalogue sweep-310m005-320p000.fits --release legacysurvey-dr8",
)
ingest.command("catalogue")(catalogue)
ingest.command("images")(images)
ingest.command("labels")(labels)
ingest.command("spectra")(spectra)
