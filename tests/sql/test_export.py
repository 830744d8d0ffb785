"""A value-added catalogue holds what api.galaxy_property serves, described for whoever reads it elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet
import pytest
import typer
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.units import Unit
from typer.testing import CliRunner

from galbase.schema.errors import UsageError
from galbase.sql.commands_export import export
from tests.sql.small_archive import fill_small_archive

WHERE = "type = 'EXP' AND mag_r < 21.5 -- bright"


@pytest.fixture(scope="module")
def filled(archive: Any) -> Any:
    with archive.connect(autocommit=True) as owner:
        fill_small_archive(owner)
        test = {"log_mstar_fib": {"network": {"n": 40, "sigma": 0.1234}}}
        owner.execute("UPDATE archive.model SET metrics = %s WHERE model_id = 1", (json.dumps({"test": test}),))
    return archive


def run(archive: Any, *words: str) -> Any:
    app = typer.Typer()
    app.command()(export)
    result = CliRunner().invoke(app, [*words, "--json"], obj=archive.config)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def expected(archive: Any) -> list[tuple[Any, ...]]:
    with archive.connect(role="reader") as connection:
        return list(
            connection.execute(
                "SELECT galaxy_id, ra, log_mstar_fib, log_mstar_fib_q16, log_mstar_fib_model, mag_r "
                "FROM api.galaxy_property WHERE type = 'EXP' AND mag_r < 21.5 AND log_mstar_fib IS NOT NULL "
                "ORDER BY hpx29"
            ).fetchall()
        )


def test_a_fits_catalogue_has_units_models_and_a_page(filled: Any, tmp_path: Path) -> None:
    out = tmp_path / "exp.fits"
    said = run(filled, "log_mstar_fib", "--where", WHERE, "--out", str(out))
    rows = expected(filled)
    assert 0 < len(rows) < 60
    with fits.open(out) as hdus:
        data, header = hdus[1].data, hdus[1].header
        assert said["rows"] == len(data) == len(rows)
        assert data["galaxy_id"].tolist() == [row[0] for row in rows]
        assert np.array_equal(data["ra"], [row[1] for row in rows])
        assert np.array_equal(data["log_mstar_fib"], np.array([row[2] for row in rows], "f4"))
        assert np.array_equal(data["log_mstar_fib_q16"], np.array([row[3] for row in rows], "f4"))
        assert {name.strip() for name in data["log_mstar_fib_model"]} == {row[4] for row in rows}
        units = {column.name: column.unit for column in hdus[1].columns}
        assert (Unit(units["ra"]), Unit(units["mag_r"]), units["log_mstar_fib"]) == (Unit("deg"), Unit("mag"), "dex")
        assert "CC0-1.0" in str(header) or "CC0-1.0" in str(hdus[0].header)
    page = ElementTree.fromstring(Path(said["data_model"]).read_text().replace("<!doctype html>", ""))
    assert page.findtext("body/h1") == "exp.fits"
    tables = page.findall("body/table")
    described = {row[0].text: row[3].text for row in tables[0].findall("tr")[1:]}
    assert list(described) == list(data.names)
    assert described["log_mstar_fib"] == "phys.mass"
    text = Path(said["data_model"]).read_text()
    assert "GalEffNet: Zhong et al. 2024" in text
    assert "Müller et al. (2020)" in text
    assert "0.1234" in text
    assert "type = &#x27;EXP&#x27; AND mag_r &lt; 21.5 -- bright" in text


def test_votable_and_parquet_say_the_same(filled: Any, tmp_path: Path) -> None:
    rows = expected(filled)
    run(filled, "log_mstar_fib", "--where", WHERE, "--out", str(tmp_path / "exp.vot"))
    run(filled, "log_mstar_fib", "--where", WHERE, "--out", str(tmp_path / "exp.parquet"))
    votable = parse_single_table(tmp_path / "exp.vot")
    assert votable.array["galaxy_id"].tolist() == [row[0] for row in rows]
    assert votable.get_field_by_id_or_name("log_mstar_fib").ucd == "phys.mass"
    table = pyarrow.parquet.read_table(tmp_path / "exp.parquet")
    assert table["galaxy_id"].to_pylist() == [row[0] for row in rows]
    assert table["log_mstar_fib"].to_pylist() == pytest.approx([row[2] for row in rows], rel=1e-6)


def test_what_cannot_be_exported_is_refused(filled: Any, tmp_path: Path) -> None:
    out = str(tmp_path / "x.fits")
    with pytest.raises(UsageError, match="no property 'mass'; use one or several of log_mstar_fib"):
        run(filled, "mass", "--out", out)
    with pytest.raises(UsageError, match="no model serves oh12"):
        run(filled, "log_mstar_fib", "oh12", "--out", out)
    with pytest.raises(UsageError, match="fits, votable or parquet, not csv"):
        run(filled, "log_mstar_fib", "--out", str(tmp_path / "x.csv"))
    with pytest.raises(Exception, match="nosuch"):
        run(filled, "log_mstar_fib", "--where", "nosuch > 1", "--out", out)
    assert list(tmp_path.iterdir()) == []
