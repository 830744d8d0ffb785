"""Tables of any supported format, recognised by their content."""

from __future__ import annotations

from pathlib import Path

from galbase.ingest.readers.arrow_table import read_csv, read_ecsv, read_parquet
from galbase.ingest.readers.column import TableFile
from galbase.ingest.readers.content import open_content, sniff
from galbase.ingest.readers.fits_table import read_fits
from galbase.ingest.readers.named_error import naming
from galbase.ingest.readers.votable import read_votable
from galbase.schema.errors import GalbaseError

_CLAIMS = {
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ecsv": "ecsv",
    ".csv": "csv",
    ".tsv": "csv",
}


def read_table(path: Path) -> TableFile:
    """Read a FITS table, VOTable, Parquet or CSV file, each also in gzip or bzip2 but Parquet.

    Raises
    ------
    GalbaseError
        If the file is of none of these formats, not of the one that its name claims, or damaged.
    """
    with naming(path.name):
        return _read_table(path)


def _read_table(path: Path) -> TableFile:
    stream, packed = open_content(path)
    with stream:
        if not stream.read(1):
            raise GalbaseError(f"{path.name} is empty. Fetch it again.")
        found = sniff(stream)
        suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".bz2")]
        claimed = _CLAIMS.get(suffixes[-1]) if suffixes else None
        if found is None or (claimed is not None and claimed != found and (claimed, found) != ("csv", "ecsv")):
            wanted = f"the {claimed.upper()} file that its name says" if claimed else "FITS, VOTable, Parquet or CSV"
            raise GalbaseError(f"{path.name} is not {wanted}, judged by its first bytes. Fetch it again or rename it.")
        if found == "fits":
            return read_fits(stream, path.name)
        if found == "votable":
            return read_votable(stream, path.name)
        if found == "ecsv":
            return read_ecsv(stream, path.name)
        if found == "csv":
            return read_csv(stream, path.name)
    if packed:
        raise GalbaseError(f"{path.name} is Parquet inside gzip, which cannot be read in parts; unpack it first.")
    return read_parquet(path)
