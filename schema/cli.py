"""The root of the command line: finds the parts' commands and loads each when it is used."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from galbase.schema import __version__
from galbase.schema.config import Config
from galbase.schema.errors import GalbaseError, UsageError

GROUP = "galbase.commands"


class PartCommands(TyperGroup):
    """A group whose commands are the entry points of group ``galbase.commands``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        show_brackets(self)

    def _found(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=GROUP)}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Names of all commands, sorted."""
        return sorted(self._found())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Load the command `cmd_name`; None if no part has it."""
        entry = self._found().get(cmd_name)
        if entry is None:
            return None
        target = entry.load()
        if not isinstance(target, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(name=cmd_name)(target)
            target = single
        made = get_command(target)
        made.name = cmd_name
        show_brackets(made)
        return made


def show_brackets(command: Any) -> None:
    """Let the help of a command and of its own ones show what is in brackets, which Rich would take for styles."""
    for part in (command, *command.params):
        if getattr(part, "help", None):
            part.help = escape(part.help)
    for own in getattr(command, "commands", {}).values():
        show_brackets(own)


app = typer.Typer(
    cls=PartCommands,
    name="galbase",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Galaxy properties, uncertainties and nearest neighbours from SQL.\n\nExample: galbase demo",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"galbase {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Directory of the embedded archive [~/.local/share/galbase]."),
    ] = None,
    version: Annotated[  # noqa: ARG001 -- its callback acts on it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the configuration once."""
    if ctx.obj is None:
        ctx.obj = Config.from_environment(data_dir)


def main() -> None:
    """Run the program: exit status 0 done, 1 failed, 2 misused. A bug shows its traceback."""
    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    except GalbaseError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
