"""Configuration: read once at the edge of the program and passed down."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from galbase.schema.errors import UsageError


@dataclass(frozen=True)
class Config:
    """Where the archive is and how to reach it.

    Parameters
    ----------
    data_dir : Path
        Directory of the embedded server, its password file and caches.
    database_url : str or None
        ``postgresql://`` URL of an external server; None starts the embedded one in `data_dir`.
    scheduler : str or None
        Address of a Dask scheduler, ``tcp://host:8786``; None runs an in-process cluster.
    owner_role, reader_role : str
        Names of the role that owns the tables and of the role that may read them.
    server_memory : str or None
        Memory that the embedded server may plan with, such as ``4GB``; None takes the machine's.
    cache_dir : str or None
        Directory of preprocessed stamps, shared with the workers of a cluster; None is ``cache`` in `data_dir`, and
        ``none`` no cache.
    """

    data_dir: Path
    database_url: str | None = None
    scheduler: str | None = None
    owner_role: str = "galbase_owner"
    reader_role: str = "galbase_reader"
    server_memory: str | None = None
    cache_dir: str | None = None

    @classmethod
    def from_environment(cls, data_dir: Path | None = None) -> Config:
        """Read the TOML file, then ``GALBASE_*`` variables, then the argument; the later one wins.

        The file is ``$GALBASE_CONFIG`` or ``~/.config/galbase/galbase.toml``; its keys are this class's fields.

        Raises
        ------
        UsageError
            If the file is not TOML or holds a key that is not a setting.
        """
        values: dict[str, str | Path | None] = {}
        named = os.environ.get("GALBASE_CONFIG")
        path = Path(named) if named else Path.home() / ".config" / "galbase" / "galbase.toml"
        known = {field.name for field in fields(cls)}
        if named and not path.is_file():
            raise UsageError(f"GALBASE_CONFIG names {path}, which is not a file; correct the path or unset it.")
        if path.is_file():
            try:
                settings = tomllib.loads(path.read_text(encoding="utf-8"))
            except tomllib.TOMLDecodeError as error:
                raise UsageError(f"{path} is not valid TOML: {error}. Correct or remove it.") from error
            unknown = sorted(set(settings) - known)
            if unknown:
                raise UsageError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")
            values.update(settings)
        for name in known:
            value = os.environ.get(f"GALBASE_{name.upper()}")
            if value:
                values[name] = value
        if data_dir is not None:
            values["data_dir"] = data_dir
        directory = Path(values.pop("data_dir", None) or Path.home() / ".local" / "share" / "galbase")
        texts = {name: str(value) for name, value in values.items() if value is not None}
        return cls(data_dir=directory.expanduser().absolute(), **texts)
