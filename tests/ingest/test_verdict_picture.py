"""Pictures of verdicts: what is drawn lies where it should, and the commands write it with reasons and credits."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import healpy
import numpy as np
import pytest
from astropy.io import fits
from matplotlib.image import imread
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from galbase.ingest.commands_verdict_picture import preprocess_group
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.overlay import Overlay, see
from galbase.ingest.releases import add_release
from galbase.ingest.verdict_picture import Case, draw_montage, draw_side_by_side, verdict_words
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.flags import PreprocessFlag as Flag
from galbase.sql.query import ReleaseCredit

SIDE = 152
CREDIT = ReleaseCredit("release-a", "CC-BY-4.0", "Author 2024", None)
# Sources of the archive's images: degrees, and whether a companion shines within the target.
SKY = [(10.0 + 30 * i, -40.0 + 10 * i, i % 2 == 1) for i in range(8)]


def blob(x: float, y: float, sigma: float, peak: float) -> NDArray[np.float64]:
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return np.asarray(peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2)))


def display(light: NDArray[np.float64], seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(12, 2, (SIDE, SIDE, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.float32)


def seen(image: NDArray[np.float32], name: str, *, is_display: bool = True, **options: Any) -> Overlay:
    bands = ("R", "G", "B") if is_display else ("g", "r", "z")
    return see(image, bands, None, is_display, preset(name).with_options(options))


@pytest.mark.parametrize(("name", "options"), [("improved", {}), ("galeffnet", {"contours_of": "regions"})])
def test_outlines_ellipse_and_mask_lie_on_the_target(name: str, options: dict[str, Any]) -> None:
    image = display(blob(76, 76, 9, 180) + blob(120, 40, 4, 180))
    overlay = seen(image, name, **options)
    assert overlay.ellipse is not None
    assert overlay.enlarged is not None
    assert overlay.mask is not None
    assert any(Polygon(line).contains_point((76, 76)) for line in overlay.own)
    assert not any(Polygon(line).contains_point((120, 40)) for line in overlay.own)
    assert any(Polygon(line).contains_point((120, 40)) for line in overlay.others)
    assert (overlay.ellipse.x, overlay.ellipse.y) == pytest.approx((76, 76), abs=1)
    assert overlay.enlarged.a == pytest.approx(overlay.ellipse.a * overlay.config.enlargement)
    assert overlay.mask[76, 76]
    assert not overlay.mask[40, 120]
    # The stamp is black exactly where the mask ends.
    stamp = overlay.verdict.stamp
    assert stamp is not None
    edge = (SIDE - stamp.shape[0]) // 2
    inner = overlay.mask[edge : edge + stamp.shape[0], edge : edge + stamp.shape[0]]
    np.testing.assert_array_equal(stamp.any(axis=2) & ~inner, False)


def test_a_resized_image_is_drawn_in_the_pixels_of_its_frame() -> None:
    image = np.repeat(np.repeat(display(blob(76, 76, 9, 180)), 3, axis=0), 3, axis=1)
    overlay = seen(image, "improved")
    assert overlay.colours.shape == (SIDE, SIDE, 3)
    assert overlay.ellipse is not None
    assert overlay.verdict.ellipse is not None
    assert (overlay.ellipse.x, overlay.ellipse.y) == pytest.approx((76, 76), abs=0.5)
    assert overlay.verdict.ellipse.a == pytest.approx(3 * overlay.ellipse.a)


def test_words_say_what_the_flags_and_measures_are() -> None:
    overlay = seen(display(blob(76, 76, 9, 180) + blob(88, 84, 2, 150)), "improved")
    head, reasons, measures = verdict_words("mine", overlay)
    assert head == "mine: out"
    assert "out: another source shines within the target" in reasons
    assert any(text.startswith("note: criteria in arcsec were not applied") for text in reasons)
    assert [text for text in measures if text.startswith("blend score")] == [
        f"blend score {overlay.verdict.blend_score:.2f}, limit 1.3"
    ]
    assert not any("None" in text for text in measures)
    head, reasons, _ = verdict_words("mine", seen(display(blob(76, 76, 9, 180)), "improved"))
    assert head == "mine: kept"
    assert not any(text.startswith("out") for text in reasons)


@pytest.mark.parametrize("is_display", [True, False])
def test_pictures_are_the_right_way_up(tmp_path: Path, is_display: bool) -> None:
    """Row 0 is on top of a display image, and at the bottom of fluxes, which count from the south."""
    light = blob(76, 20, 6, 200)
    image = display(light) if is_display else (light[..., None] * np.ones(3) / 500).astype(np.float32)
    case = Case("one", is_display, [("improved", seen(image, "improved", is_display=is_display))])
    draw_side_by_side(case, tmp_path / "a.png")
    drawn = imread(tmp_path / "a.png")[..., :3]
    first = drawn[:, drawn.shape[1] // 50 : drawn.shape[1] // 8].mean(axis=2)
    # The first panel: the rows that are dark within these columns of it.
    rows = np.flatnonzero((first < 0.4).mean(axis=1) > 0.5)
    panel = first[rows[0] : rows[-1] + 1]
    upper, lower = np.array_split(panel, 2)
    assert (upper.mean() > lower.mean()) == is_display


def test_files_carry_title_and_credits_and_hold_every_case(tmp_path: Path) -> None:
    cases = [
        Case(f"name {i} $x_1^2$", True, [(name, seen(display(blob(76, 76, 5 + i, 150), i), name))
                                        for name in ("improved", "galeffnet", "mmlforgalam")])
        for i in range(3)
    ]  # fmt: skip
    draw_side_by_side(cases[0], tmp_path / "one.png", [CREDIT])
    draw_montage(cases, "three", tmp_path / "three.png", [CREDIT])
    sizes = []
    for name, title in (("one.png", cases[0].name), ("three.png", "three")):
        with Image.open(tmp_path / name) as picture:
            texts = dict(picture.text)  # type: ignore[attr-defined]
            sizes.append(picture.size)
            assert texts["Title"] == title
            assert texts["Copyright"] == "release-a: licence CC-BY-4.0; cite Author 2024"
    draw_montage(cases[:1], "one", tmp_path / "less.png", [CREDIT])
    with Image.open(tmp_path / "less.png") as picture:
        assert picture.size[1] < sizes[1][1]


@pytest.fixture(scope="module")
def judged(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Images with positions, every second a blend, and one without a position; judged by two configurations."""
    folder = tmp_path_factory.mktemp("images")
    for i, (ra, dec, blended) in enumerate(SKY):
        light = blob(76, 76, 8, 180) + (blob(88, 84, 2, 170) if blended else 0)
        Image.fromarray(display(light, i).astype(np.uint8)).save(folder / f"{ra:.4f}_{dec:.4f}.png")
    Image.fromarray(display(blob(76, 76, 8, 180), 99).astype(np.uint8)).save(folder / "nowhere.png")
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "made", survey="S", licence="CC0-1.0", citation="Nobody 2026")
        ingest_images(connection, release, [folder], ImageOptions(position_from_name=True))
        for name in ("improved", "galeffnet"):
            done = CliRunner().invoke(
                preprocess_group, ["--config", name, "--release", "made", "--workers", "1", "--json"],
                obj=archive.config, catch_exceptions=False,
            )  # fmt: skip
            assert json.loads(done.stdout)["images_judged"] == len(SKY) + 1
        sources = connection.execute("SELECT s.source_id, s.ra, s.hpx29 FROM archive.source s ORDER BY s.ra").fetchall()
        yield SimpleNamespace(connection=connection, config=archive.config, folder=folder, sources=sources)


def run(judged: Any, *words: object) -> dict[str, Any]:
    done = CliRunner().invoke(preprocess_group, [*map(str, words), "--json"], obj=judged.config, catch_exceptions=False)
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_show_says_why_for_a_source_and_for_an_image_without_one(judged: Any, tmp_path: Path) -> None:
    for (source, _, _), (_, _, blended) in zip(judged.sources, SKY, strict=True):
        report = run(judged, "show", source, "--out", tmp_path / "a.png")
        verdict = report["verdicts"]["improved"]
        assert report["source_id"] == source
        assert list(report["verdicts"]) == ["improved", "galeffnet"]
        assert verdict["kept"] != blended
        assert ("BLENDED" in verdict["flags"]) == blended
        assert len(verdict["criteria"]) == sum(text.startswith("out") for text in verdict["reasons"])
    (number,) = judged.connection.execute(
        "SELECT observation_id FROM archive.observation WHERE source_id IS NULL"
    ).fetchone()
    report = run(judged, "show", "--observation", number, "--config", "improved", "--out", tmp_path / "b.png")
    assert report["source_id"] is None
    assert report["image"] == "made: nowhere.png"
    with Image.open(tmp_path / "b.png") as picture:
        assert "Nobody 2026" in picture.text["Copyright"]  # type: ignore[attr-defined]


def test_show_refuses_what_it_cannot_draw(judged: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    for words, error, match in (
        (("show", "--out", out), UsageError, "one of the two"),
        (("show", 1, "--observation", 2, "--out", out), UsageError, "one of the two"),
        (("show", 12345, "--out", out), GalbaseError, "there is no source 12345"),
        (("show", "--observation", 10**9, "--out", out), GalbaseError, "is no image"),
        (("show", 1, "--out", tmp_path / "a.gif"), GalbaseError, r"must end in \.png"),
        (("show", 1, "--config", "none", "--out", out), UsageError, "no preprocessing configuration"),
        (("--release", "made", "show", 1, "--out", out), UsageError, "--release must follow show"),
        (("montage", "--flag", "WORN", "--out", out), UsageError, "there is no flag 'WORN'.*BLENDED"),
        (("montage", "--flag", "SATURATED", "--out", out), GalbaseError, "no image has such a verdict"),
        (("montage", "--option", "enlargement=3", "--out", out), GalbaseError, "no image has such a verdict"),
        (("map", "none", "--out", out), GalbaseError, "release"),
        (("map", "made", "--config", "gpm_resnet", "--out", out), GalbaseError, "galbase preprocess --release made"),
        (("map", "made", "--out", tmp_path / "a.txt"), UsageError, "names no form"),
    ):
        with pytest.raises(error, match=match):
            CliRunner().invoke(preprocess_group, list(map(str, words)), obj=judged.config, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_montage_draws_the_images_with_a_flag_in_a_fixed_order(judged: Any, tmp_path: Path) -> None:
    flagged = {row[0] for row in judged.connection.execute(
        "SELECT observation_id FROM api.preprocess_verdict WHERE config = 'improved' AND 'BLENDED' = ANY(flags)"
    )}  # fmt: skip
    assert len(flagged) == sum(blended for _, _, blended in SKY)
    words = ("montage", "--flag", "blended", "--config", "improved", "--out", tmp_path / "a.png")
    first = run(judged, *words)
    assert set(first["observation_ids"]) == flagged
    assert run(judged, *words)["observation_ids"] == first["observation_ids"]
    assert run(judged, *words, "--seed", 5)["observation_ids"] != first["observation_ids"]
    assert run(judged, *words, "--n", 2)["observation_ids"] == first["observation_ids"][:2]
    kept = run(judged, "montage", "--kept", "--config", "improved", "--release", "made", "--out", tmp_path / "b.png")
    assert set(kept["observation_ids"]).isdisjoint(flagged)
    assert kept["images"] == len(SKY) + 1 - len(flagged)
    out = run(judged, "montage", "--out-of", "--config", "improved", "--out", tmp_path / "c.png")
    assert set(out["observation_ids"]) == flagged
    assert (tmp_path / "b.png").stat().st_size > 10_000


def test_map_has_the_fraction_of_every_cell(judged: Any, tmp_path: Path) -> None:
    order = 1
    report = run(judged, "map", "made", "--flag", "BLENDED", "--order", order, "--out", tmp_path / "a.fits")
    wanted: dict[int, list[bool]] = {}
    for ra, dec, blended in SKY:
        wanted.setdefault(int(healpy.ang2pix(1 << order, ra, dec, nest=True, lonlat=True)), []).append(blended)
    assert report["cells"] == len(wanted)
    assert report["values"] == len(SKY)
    table = fits.getdata(tmp_path / "a.fits", 1)
    value = table.columns[1].name
    assert {int(row["PIXEL"]): (float(row[value]), int(row["N_VALUE"])) for row in table} == {
        cell: (np.mean(flags), len(flags)) for cell, flags in wanted.items()
    }
    everything = run(judged, "map", "made", "--order", 0, "--out", tmp_path / "b.png")
    assert everything["map"] == "fraction of images that are out by improved"
    assert imread(tmp_path / "b.png").shape[1] > 1000


def test_a_verdict_that_is_another_by_now_is_told(judged: Any, tmp_path: Path) -> None:
    source = judged.sources[0][0]
    judged.connection.execute(
        "UPDATE archive.preprocess SET flag = %s WHERE observation_id = (SELECT observation_id FROM "
        "archive.observation WHERE source_id = %s)",
        (int(Flag.SATURATED), source),
    )
    done = CliRunner().invoke(
        preprocess_group, ["show", str(source), "--out", str(tmp_path / "a.png")], obj=judged.config,
        catch_exceptions=False,
    )  # fmt: skip
    assert "stored verdict of improved is another" in done.stderr
