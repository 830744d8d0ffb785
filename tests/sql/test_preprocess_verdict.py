"""Views of verdicts: every flag in words, and every measure with unit and UCD."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from galbase.schema.flags import INFORMATIVE, FlagDefinition, PreprocessFlag, definitions
from tests.sql.small_archive import fill_small_archive

BY_NAME: dict[str, FlagDefinition] = {item.name: item for item in definitions() if item.registry == "preprocess"}


@pytest.fixture(scope="module")
def verdicts(archive: Any) -> Any:
    """The small archive's images with random flags by one configuration; returns the flag by image."""
    rng = np.random.default_rng(3)
    with archive.connect(autocommit=True) as owner:
        fill_small_archive(owner)
        owner.execute(
            "UPDATE archive.preprocess_config SET parameters = "
            """'{"method": "improved", "enlargement": 2.4, "max_blend_score": 1.3}'"""
        )
        flags = {}
        for (number,) in owner.execute("SELECT observation_id FROM archive.preprocess").fetchall():
            bits = rng.choice(list(PreprocessFlag), rng.integers(0, 4), replace=False)
            flag = PreprocessFlag(int(sum(map(int, bits))))
            flags[number] = flag
            owner.execute(
                "UPDATE archive.preprocess SET flag = %s, kept = %s, blend_score = 0.5, radius_px = 4 "
                "WHERE observation_id = %s",
                (int(flag), not flag & ~INFORMATIVE, number),
            )
    return flags


def rows(archive: Any, statement: str) -> list[tuple[Any, ...]]:
    with archive.connect(role="reader", autocommit=True) as reader:
        return list(reader.execute(statement.encode()).fetchall())


def test_one_row_an_image_says_why_in_words(archive: Any, verdicts: dict[int, PreprocessFlag]) -> None:
    found = rows(
        archive,
        "SELECT observation_id, kept, flags, reason_out, note, criterion_out, method, threshold_unit, enlargement, "
        "max_blend_score, blend_score, radius_px FROM api.preprocess_verdict",
    )
    assert len(found) == len(verdicts) == len({row[0] for row in found})
    for number, kept, flags, reason, note, criterion, *rest in found:
        wanted = [BY_NAME[str(flag.name)] for flag in verdicts[number]]
        assert kept == (not verdicts[number] & ~INFORMATIVE) == (reason == [])
        assert flags == [item.name for item in wanted]
        assert reason == [item.meaning for item in wanted if item.keeps_out]
        assert note == [item.meaning for item in wanted if not item.keeps_out]
        assert criterion == [item.criterion for item in wanted if item.keeps_out]
        assert rest == ["improved", "nmgy", 2.4, 1.3, 0.5, 4]


def test_one_row_a_flag_and_the_tally(archive: Any, verdicts: dict[int, PreprocessFlag]) -> None:
    found = rows(archive, "SELECT observation_id, flag_name, keeps_out, reason, criterion FROM api.preprocess_reason")
    assert sorted((row[0], row[1]) for row in found) == sorted(
        (number, str(flag.name)) for number, flags in verdicts.items() for flag in flags
    )
    for _, name, keeps_out, reason, criterion in found:
        item = BY_NAME[name]
        assert (keeps_out, reason, criterion) == (item.keeps_out, item.meaning, item.criterion)
    out = {number: [flag for flag in flags if not flag & INFORMATIVE] for number, flags in verdicts.items()}
    many = Counter(BY_NAME[str(flag.name)].meaning for flags in out.values() for flag in flags)
    alone = Counter(BY_NAME[str(flags[0].name)].meaning for flags in out.values() if len(flags) == 1)
    kept = sum(not flags for flags in out.values())
    tally = rows(archive, "SELECT reason, sum(n_image), sum(n_alone) FROM api.preprocess_tally GROUP BY reason")
    wanted = {(reason, n, alone[reason]) for reason, n in many.items()} | {("kept", kept, kept)}
    assert {(reason, int(n), int(single)) for reason, n, single in tally} == wanted


def test_every_measure_of_the_table_is_in_the_view_with_unit_and_ucd(archive: Any) -> None:
    columns = {
        (table, name): (unit, ucd)
        for table, name, unit, ucd in rows(
            archive,
            "SELECT table_name, column_name, unit, ucd FROM api.column_description WHERE table_name IN "
            "('preprocess', 'preprocess_verdict')",
        )
    }
    measures = [name for table, name in columns if table == "preprocess"]
    for name in set(measures) - {"input_hash"}:
        assert ("preprocess_verdict", name) in columns, name
    for name in ("threshold", "background_rms", "ellipse_x", "ellipse_a", "ellipse_theta", "radius_px", "radius_arcsec",
                 "n_contour", "n_source", "n_region", "blend_score"):  # fmt: skip
        assert columns["preprocess_verdict", name] == columns["preprocess", name]
        assert columns["preprocess_verdict", name][1]
    assert columns["preprocess_verdict", "radius_arcsec"][0] == "arcsec"


def test_flag_map_counts_every_flag_of_every_cell(archive: Any, verdicts: dict[int, PreprocessFlag]) -> None:
    cells = dict(
        rows(
            archive,
            "SELECT o.observation_id, s.hpx29 >> 50 FROM archive.observation o JOIN archive.source s USING (source_id) "
            "JOIN archive.data_release r ON r.release_id = o.release_id WHERE r.release = 'sim-image'",
        )
    )
    found = rows(archive, "SELECT * FROM api.preprocess_flag_map('sim-image', 'h', 4)")
    assert len(found) == len(set(cells.values())) * (len(BY_NAME) + 1)
    for cell, name, n_image, n_flagged, fraction in found:
        here = [verdicts[number] for number, at in cells.items() if at == cell]
        if name == "OUT":
            wanted = sum(bool(flag & ~INFORMATIVE) for flag in here)
        else:
            wanted = sum(PreprocessFlag[name] in flag for flag in here)
        assert (n_image, n_flagged, fraction) == (len(here), wanted, pytest.approx(wanted / len(here)))
    assert rows(archive, "SELECT * FROM api.preprocess_flag_map('sim-image', 'unknown', 4)") == []


@pytest.mark.parametrize("name", BY_NAME)
def test_every_flag_of_a_verdict_names_whose_criterion_it_is(name: str) -> None:
    criterion = BY_NAME[name].criterion
    assert criterion is not None
    assert any(who in criterion for who in ("GalEffNet", "GPM-ResNet", "MMLforGalAM", "improved", "all methods"))
    assert (BY_NAME[name].keeps_out is False) == bool(PreprocessFlag[name] & INFORMATIVE)
