"""Real catalogues: what SQL holds is what astropy and pyarrow read."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from pyarrow import parquet

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release


@pytest.fixture(scope="module")
def connection(archive):
    """An autocommit connection that the tests share."""
    with archive.connect(autocommit=True) as made:
        yield made


@pytest.fixture
def load(archive, connection):
    """Ingest a file or folder into a release, without a rejected file."""

    def run(path, release, **options):
        add_release(connection, release, survey="real")
        report = run_catalogues(archive.config, release, [path], CatalogueOptions(**options))
        assert report.count("rejected") == 0, report.files
        return report

    return run


def test_openngc_and_sga(load, connection, test_data) -> None:
    path = test_data / "catalogues" / "openngc.parquet"
    report = load(path, "openngc", angle_unit="rad")
    assert (report.total("rows"), report.total("loaded"), report.total("rejected")) == (14033, 14026, 7)
    reasons = connection.execute("SELECT DISTINCT reason FROM archive.rejected_row").fetchall()
    assert reasons == [("no position: ra or dec is missing",)]
    table = parquet.read_table(path)
    truth = {row["name"]: row for row in table.to_pylist()}
    rows = connection.execute(
        "SELECT native_id, s.ra, s.dec, c.id, c.bmag, c.identifiers, c.const FROM archive.source s "
        "JOIN catalogue.openngc c USING (source_id)"
    ).fetchall()
    assert len(rows) == 14026
    for name, ra, dec, number, bmag, identifiers, const in rows:
        row = truth[name]
        assert (number, bmag, identifiers, const) == (row["id"], row["bmag"], row["identifiers"], row["const"])
        assert (ra, dec) == (pytest.approx(np.degrees(row["ra"]) % 360), pytest.approx(np.degrees(row["dec"])))

    report = load(test_data / "catalogues" / "sga2020_ngc.parquet", "sga")
    assert (report.total("loaded"), report.total("rejected")) == (4221, 0)
    places = [
        np.array(
            connection.execute(
                "SELECT ra, dec FROM archive.source JOIN archive.data_release USING (release_id) WHERE release = %s",
                (name,),
            ).fetchall()
        )
        for name in ("sga", "openngc")
    ]
    left, right = (SkyCoord(place, unit="deg") for place in places)
    assert (left.match_to_catalog_sky(right)[1].arcsec <= 5).sum() == 4121


@pytest.mark.parametrize(("name", "rows"), [("evcc", 1589), ("vcc", 1183)])
def test_virgo_catalogues(load, connection, test_data, name, rows) -> None:
    path = test_data / "catalogues" / f"{name}.fits"
    assert load(path, name).total("loaded") == rows
    with fits.open(path) as hdus:
        truth = {str(row[f"id_{name}"]): row for row in hdus[1].data}
    assert len(truth) == rows
    query = {
        "evcc": "SELECT s.native_id, s.ra, s.dec, c.cz_ned, c.morph_pri FROM catalogue.evcc c JOIN archive.source s "
        "USING (source_id)",
        "vcc": "SELECT s.native_id, s.ra, s.dec, c.cz_ned, c.morph_vcc FROM catalogue.vcc c JOIN archive.source s "
        "USING (source_id)",
    }
    for native, ra, dec, cz, morph in connection.execute(query[name]).fetchall():
        row = truth[native]
        assert (ra, dec) == (row["ra"], row["dec"])
        assert cz is None if np.isnan(row["cz_ned"]) else np.float32(cz) == row["cz_ned"]
        assert morph == row["morph_pri" if name == "evcc" else "morph_vcc"]


def test_all_96_columns_of_tractor_and_sweep_files(load, connection, test_data) -> None:
    folder = test_data / "legacysurvey-tractor-sweep" / "t"
    report = load(folder, "dr8")
    assert (report.count("loaded"), report.total("loaded"), report.total("rejected")) == (6, 36, 0)
    cursor = connection.execute(
        "SELECT s.native_id, s.ra, s.dec, o.* FROM archive.legacysurvey_dr8_object o "
        "JOIN archive.source s USING (source_id)"
    )
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    found = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
    extra = {}
    for native, name, *values in connection.execute(
        "SELECT native_id, name, value_float, value_integer, value_text, value_array FROM archive.extra_value "
        "JOIN archive.extra_column USING (extra_column_id) JOIN archive.source USING (source_id)"
    ).fetchall():
        extra[native, name] = next(value for value in values if value is not None)
    compared = 0
    for path in sorted(folder.glob("*.fits")):
        with fits.open(path) as hdus:
            data = hdus[1].data
            assert len(data.columns) == 96
            for row in data:
                native = f"{row['RELEASE']}-{row['BRICKID']}-{row['OBJID']}"
                for column in data.columns.names:
                    key = column.lower()
                    stored = found[native][key] if key in found[native] else extra.get((native, key))
                    wanted = row[column]
                    if isinstance(wanted, str):
                        assert stored == wanted.rstrip(), (native, column)
                    elif np.ndim(wanted):
                        assert np.array_equal(np.float32(stored), wanted), (native, column)
                    elif np.isnan(wanted):
                        assert stored is None, (native, column)
                    else:
                        assert type(wanted)(stored) == wanted, (native, column)
                    compared += 1
    assert compared == 36 * 96
