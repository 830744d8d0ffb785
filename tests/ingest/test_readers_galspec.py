"""galSpec tables: exact 64-bit ids, -9999 is missing, upper and lower case."""

import numpy as np
import pytest

from galbase.ingest.readers.galspec import is_galspec, read_galspec
from galbase.ingest.readers.table import read_table
from galbase.schema.errors import GalbaseError


def read(path):
    file = read_table(path)
    assert is_galspec(file)
    return read_galspec(file, path.name)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("text_ids", [False, True])
def test_ids_are_exact_in_either_form(tmp_path, survey_files, lower, text_ids) -> None:
    path = survey_files.write(survey_files.galspec(30, lower=lower, text_ids=text_ids), tmp_path / "g.fits")
    found = read(path)
    wanted = [2**63 + 1024 * i for i in range(30)]
    assert found.columns["specobjid"].tolist() == wanted
    assert found.native_ids.tolist() == [str(value).encode() for value in wanted]
    assert [column.name.lower() for column, _ in found.extra] == ["primtarget"]


def test_sentinels_become_null(tmp_path, survey_files) -> None:
    made = survey_files.galspec(30)
    found = read(survey_files.write(made, tmp_path / "g.fits"))
    mass = np.ma.asarray(found.columns["lgm_fib_p50"])
    assert mass.mask.tolist() == [i % 10 == 0 for i in range(30)]
    assert (mass.compressed() == made["LGM_FIB_P50"][~mass.mask]).all()
    assert found.nulls == {"-9999": 4 * 3 * 3}


def test_bad_ids_and_positions_elsewhere(tmp_path, survey_files) -> None:
    made = survey_files.galspec(4, text_ids=True)
    made["SPECOBJID"][:3] = ["", "12x", "0"]
    assert read(survey_files.write(made, tmp_path / "g.fits")).native_ids[:3].tolist() == [b""] * 3
    extra = survey_files.galspec(4)
    extra.remove_columns(["RA", "DEC"])
    assert read(survey_files.write(extra, tmp_path / "e.fits")).ra is None


def test_inexact_or_missing_ids_are_refused(tmp_path, survey_files) -> None:
    made = survey_files.galspec(4)
    made["SPECOBJID"] = made["SPECOBJID"].astype(float)
    with pytest.raises(GalbaseError, match="cannot hold a 64-bit specObjID exactly"):
        read(survey_files.write(made, tmp_path / "a.fits"))
    del made["SPECOBJID"]
    with pytest.raises(GalbaseError, match="no column 'specobjid'"):
        read(survey_files.write(made, tmp_path / "b.fits"))
