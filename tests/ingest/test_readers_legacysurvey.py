"""Tractor and sweep tables: told apart, ids built, wrong columns refused."""

import numpy as np
import pytest
from astropy.table import MaskedColumn

from galbase.ingest.readers.legacysurvey import is_legacysurvey, read_legacysurvey
from galbase.ingest.readers.table import read_table
from galbase.schema.errors import GalbaseError


def read(path, sentinels=()):
    file = read_table(path)
    assert is_legacysurvey(file)
    return read_legacysurvey(file, path.name, sentinels)


@pytest.mark.parametrize(
    ("dr9", "table", "release"), [(True, "legacysurvey_dr9_object", 9010), (False, "legacysurvey_dr8_object", 8000)]
)
def test_both_data_models(tmp_path, survey_files, dr9, table, release) -> None:
    made = survey_files.tractor(20, dr9=dr9)
    found = read(survey_files.write(made, tmp_path / "t.fits"))
    assert (found.table, found.n_row) == (table, 20)
    assert found.native_ids.tolist() == [f"{release}-330248-{i}".encode() for i in range(20)]
    assert (found.ra == made["RA"]).all()
    assert (found.dec == made["DEC"]).all()
    assert found.columns["dchisq"].shape == (20, 5)
    assert ("sersic" in found.columns) == dr9
    assert sorted(column.name for column, _ in found.extra) == ["APFLUX_G", "BX", "HASH"]
    assert len(found.columns) + len(found.extra) + 2 == len(made.colnames)


def test_every_column_of_the_real_files_has_a_place(test_data) -> None:
    files = sorted((test_data / "legacysurvey-tractor-sweep" / "t").glob("*.fits"))
    assert len(files) == 6
    for path in files:
        found = read(path)
        assert found.table == "legacysurvey_dr8_object"
        assert len(found.columns) + len(found.extra) + 2 == 96


def test_infinite_and_missing_values(tmp_path, survey_files) -> None:
    made = survey_files.tractor(4, dr9=True)
    made["FLUX_G"][:] = [np.inf, np.nan, -5, 1]
    made["OBJID"][3] = -1
    found = read(survey_files.write(made, tmp_path / "t.fits"), ("-5",))
    assert np.ma.asarray(found.columns["flux_g"]).tolist() == [None, None, None, 1.0]
    assert found.nulls == {"infinite": 1, "nan": 1, "-5": 1}
    assert found.non_finite.tolist() == [True, False, False, False]
    assert found.native_ids[3] == b""


@pytest.mark.parametrize("name", ["RA", "OBJID", "FLUX_Z", "MW_TRANSMISSION_G", "SHAPE_R"])
def test_missing_column_is_named(tmp_path, survey_files, name) -> None:
    made = survey_files.tractor(3, dr9=True)
    del made[name]
    with pytest.raises(GalbaseError, match=name.lower() if name != "SHAPE_R" else "neither SHAPEDEV_R"):
        read(survey_files.write(made, tmp_path / "t.fits"))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("FLUX_R", ["a", "b", "c"], "'FLUX_R' is text"),
        ("RA", ["1", "2", "3"], "'RA' is text"),
        ("OBJID", [0.5, 1.5, 2.5], "'OBJID' is float"),
        ("TYPE", [1.5, 2.5, 3.5], "'TYPE' is float"),
        ("FLUX_G", np.ones((3, 2)), "one value a row"),
        ("DCHISQ", np.ones(3), "several values a row"),
    ],
)
def test_wrong_type_is_named(tmp_path, survey_files, name, values, message) -> None:
    made = survey_files.tractor(3, dr9=True)
    made.replace_column(name, MaskedColumn(values))
    with pytest.raises(GalbaseError, match=message):
        read(survey_files.write(made, tmp_path / "t.fits"))
