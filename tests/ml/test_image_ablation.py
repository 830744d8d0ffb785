"""Less of an image: some of its bands, fewer pixels; in stamps, in models, in the archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import typer
from scipy.ndimage import map_coordinates
from typer.testing import CliRunner

from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.stamp import FramedTarget
from galbase.ingest.preprocess.stretch import dr2_rgb
from galbase.ml import commands_evaluate, jobs
from galbase.ml.evaluation import evaluate
from galbase.ml.experiment import run_training
from galbase.ml.image_ablation import (
    area_resampled,
    bilinear_resampled,
    check_resolution,
    parse_bands,
    with_bands,
)
from galbase.ml.image_scalars import psf_scalars
from galbase.ml.model_store import find_model
from galbase.ml.networks.build import build, least_px
from galbase.ml.prediction_store import stale_units
from galbase.ml.predictor import load_model
from galbase.ml.recipe import FLUX_SOFTENING, Recipe, prepare_target
from galbase.ml.refresh import plan
from galbase.ml.report import write_report
from galbase.ml.request import TrainingRequest
from galbase.ml.side_by_side import of_one_set, side_by_side, sigma_change
from galbase.ml.training_check import check_request
from galbase.ml.training_set import create_training_set, find_training_set
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import cluster

CONFIG = preset("galeffnet")
app = typer.Typer()
app.command()(commands_evaluate.evaluate)
SIDE = 64


def target(bands: tuple[str, ...] = ("g", "r", "z"), seed: int = 1) -> FramedTarget:
    rng = np.random.default_rng(seed)
    flux = rng.gamma(2, 0.01, (SIDE, SIDE, len(bands))).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    mask = np.hypot(x, y) < 20
    return FramedTarget(np.where(mask[..., None], flux, np.float32(0)), mask, bands, False)


@pytest.mark.parametrize("bands", [("g",), ("r",), ("z",), ("g", "r"), ("g", "z"), ("r", "z")])
def test_what_is_not_shown_does_not_count(bands: tuple[str, ...]) -> None:
    whole = target()
    other = replace(whole, pixels=whole.pixels.copy())
    for index, band in enumerate(whole.bands):
        if band not in bands:
            other.pixels[..., index] *= 7
    for kind in ("flux", "display"):
        recipe = Recipe(kind, bands=bands)
        image, scalar = prepare_target(whole, CONFIG, recipe)
        again, same = prepare_target(other, CONFIG, recipe)
        assert np.array_equal(image, again)
        assert np.array_equal(scalar, same)
        plain = prepare_target(whole, CONFIG, Recipe(kind))
        assert image.shape == plain[0].shape
        assert not np.array_equal(image, plain[0])
        assert not np.array_equal(plain[0], prepare_target(other, CONFIG, Recipe(kind))[0])


def test_one_band_is_copied_and_two_have_their_mean_between_them() -> None:
    whole = target()
    g, r, z = np.moveaxis(whole.pixels, -1, 0)
    for bands, planes in ((("r",), (r, r, r)), (("g", "z"), (g, (g + z) / 2, z))):
        image, _ = prepare_target(whole, CONFIG, Recipe("flux", bands=bands))
        assert image == pytest.approx(np.arcsinh(np.stack(planes, -1) / FLUX_SOFTENING) / 4, rel=1e-5)
    # As published: the display stretch of the bands that are left, reddest first.
    shown, _ = prepare_target(whole, CONFIG, Recipe("display", bands=("g", "z")))
    wanted = np.rint(255 * dr2_rgb(np.stack([g, z], -1), ("g", "z"))) * whole.mask[..., None]
    assert np.array_equal(shown, wanted)
    assert shown[..., 0].mean() != pytest.approx(shown[..., 2].mean(), rel=0.01)


def test_the_psf_is_that_of_the_bands_that_are_shown() -> None:
    bands, widths = ("g", "r", "z"), (1.5, 1.3, 1.1)
    assert psf_scalars(bands, widths, ("g", "z")) == pytest.approx((1.5, 1.3, 1.1))
    assert psf_scalars(bands, (1.5, 9.9, 1.1), ("g", "z")) == pytest.approx((1.5, 1.3, 1.1))
    assert psf_scalars(bands, widths, ("r",)) == pytest.approx((1.3, 1.3, 1.3))
    assert psf_scalars(bands, widths) == pytest.approx(widths)


def test_display_images_have_the_bands_that_they_were_ingested_with() -> None:
    whole = target()
    display = replace(
        whole, pixels=np.float32(255) * dr2_rgb(whole.pixels, whole.bands), bands=("z", "r", "g"), is_display=True
    )
    shown, _ = prepare_target(display, CONFIG, Recipe("display", bands=("g", "z")))
    full, _ = prepare_target(display, CONFIG, Recipe("display"))
    assert np.array_equal(shown[..., [0, 2]], full[..., [0, 2]])
    assert np.array_equal(shown[..., 1], np.rint((display.pixels[..., 0] + display.pixels[..., 2]) / 2) * whole.mask)
    flux, _ = prepare_target(display, CONFIG, Recipe("flux", bands=("r",)))
    undone, _ = prepare_target(display, CONFIG, Recipe("flux"))
    assert flux == pytest.approx(np.repeat(undone[..., 1:2], 3, axis=-1), abs=1e-6)
    with pytest.raises(GalbaseError, match="has bands R, G, B and no g"):
        prepare_target(replace(display, bands=("R", "G", "B")), CONFIG, Recipe("display", bands=("g",)))


@pytest.mark.parametrize("side", [64, 32, 16, 48, 23, 1])
def test_fluxes_keep_their_sum_and_their_place(side: int) -> None:
    flux = target().pixels
    found = area_resampled(flux, side)
    assert found.shape == (side, side, 3)
    assert found.sum(axis=(0, 1)) == pytest.approx(flux.sum(axis=(0, 1)), rel=1e-5)
    # Every pixel cut into side x side parts, which are then added up n x n: exact for any pair of sizes.
    fine = np.repeat(np.repeat(flux.astype(np.float64), side, 0), side, 1) / side**2
    wanted = fine.reshape(side, SIDE, side, SIDE, 3).sum(axis=(1, 3))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def test_published_resolutions_are_bilinear() -> None:
    rng = np.random.default_rng(2)
    display = rng.integers(0, 256, (152, 152, 3)).astype(np.uint8)
    assert bilinear_resampled(display, 152) is display
    for side in (16, 32, 64, 128):
        place = (np.arange(side) + 0.5) * 152 / side - 0.5
        grid = np.meshgrid(place, place, indexing="ij")
        wanted = np.stack([map_coordinates(display[..., k].astype(float), grid, order=1) for k in range(3)], -1)
        # OpenCV's weights have eleven bits.
        assert np.abs(bilinear_resampled(display, side) - wanted).max() <= 1


def test_scalars_and_sizes_know_of_the_resolution() -> None:
    whole = target()
    recipe = Recipe("flux", bin_px=2, crop_px=48).reduced((), 24)
    assert (recipe.bin_px, recipe.side_px(SIDE)) == (1, 24)
    image, scalar = prepare_target(whole, CONFIG, recipe)
    assert image.shape == (24, 24, 3)
    assert np.array_equal(scalar, prepare_target(whole, CONFIG, Recipe("flux"))[1])
    shown, _ = prepare_target(whole, CONFIG, Recipe("display", resolution_px=16))
    assert shown.shape == (16, 16, 3)
    assert Recipe("flux", bin_px=2).side_px(SIDE) == 32
    inner = np.sinh(4 * image.astype(np.float64)) * FLUX_SOFTENING
    assert inner.sum(axis=(0, 1)) == pytest.approx(whole.pixels[8:56, 8:56].sum(axis=(0, 1)), rel=1e-4)


def test_what_is_not_used_is_not_stored() -> None:
    assert set(Recipe("flux").to_mapping()) == {"kind", "scalar_mean", "scalar_std"}
    recipe = Recipe("flux", bands=("g", "z"), resolution_px=32)
    stored = recipe.to_mapping()
    assert (stored["bands"], stored["resolution_px"]) == (["g", "z"], 32)
    assert Recipe.from_mapping(stored) == recipe


def test_bands_and_resolutions_that_do_not_exist_are_refused() -> None:
    assert parse_bands("z, g") == ("g", "z")
    for text in ("", "u", "g,g", "g,r,z", "gr"):
        with pytest.raises(UsageError, match="--bands"):
            parse_bands(text)
    for side in (0, 65):
        with pytest.raises(UsageError, match="--resolution"):
            check_resolution(side, 64)
    check_resolution(64, 64)
    with pytest.raises(GalbaseError, match="no i, which"):
        with_bands(target(), ("i",))
    with pytest.raises(UsageError, match="cannot be resampled"):
        area_resampled(target().pixels, 65)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mmlforgalam_m3", {}),
        ("mmlforgalam_fused", {"n_wave": 400}),
        ("mmlforgalam_simulated", {}),
        ("galeffnet", {"backbone": "mobilenet_v2"}),
        ("galeffnet", {"backbone": "efficientnet_b3"}),
    ],
)
def test_the_least_side_is_what_a_network_can_be_built_for(family: str, options: dict[str, Any]) -> None:
    preset_name = "paper" if "backbone" in options else "tiny"
    least = least_px(family, preset_name, options)
    assert build(family, preset_name, {**options, "size_px": least}).input_shapes["image"] == (least, least, 3)
    with pytest.raises((UsageError, ValueError)):
        build(family, preset_name, {**options, "size_px": least - 1})
    with pytest.raises(UsageError, match=f"--resolution {least - 1} is not from {least} to 64"):
        check_resolution(least - 1, 64, least)


def test_one_pixel_is_enough_for_networks_of_our_own() -> None:
    for family in ("galeffnet", "gpm_resnet"):
        assert least_px(family, "tiny", {}) == 1
        made = build(family, "tiny", {"size_px": 1, "properties": ["oh12"]})
        assert made.training.predict_on_batch({"image": np.ones((2, 1, 1, 3), np.float32)}).shape == (2, 1)
    assert least_px("galeffnet", "paper", {}) == least_px("galeffnet", "paper", {"backbone": "efficientnet_b3"}) > 1


@pytest.fixture(scope="module")
def round_set(filled: tuple[Any, Any]) -> tuple[Any, Any]:
    """The archive of round galaxies, with a training set."""
    with filled[0].connect() as connection:
        create_training_set(connection, "round", "galeffnet", seed=3)
    return filled


def request(name: str, **changed: Any) -> TrainingRequest:
    asked = TrainingRequest(name, "galeffnet", "improved", "tiny", "round", 1, 3, {}, None, None)
    return replace(asked, **changed)


def test_models_of_less_are_trained_predict_and_are_kept_fresh(
    round_set: tuple[Any, Any], make_galaxies: Callable[..., Any], tmp_path: Path
) -> None:
    archive, galaxies = round_set
    # The mass is in every band, the star formation in the colour g - r, and in r and z there is none.
    result = {
        "rz": run_training(archive.url, request("rz", bands=("r", "z"), resolution_px=16, epochs=8)),
        "gr": run_training(archive.url, request("gr", bands=("g", "r"), resolution_px=16, epochs=8)),
        "shown": run_training(archive.url, request("shown", mode="as-published", bands=("r",), resolution_px=24)),
    }
    ssfr = {name: each["test"]["log_ssfr_fib"] for name, each in result.items()}
    assert ssfr["rz"]["network"]["r2"] < 0.15
    assert ssfr["gr"]["network"]["r2"] > 0.5
    assert result["rz"]["test"]["log_mstar_fib"]["network"]["r2"] > 0.5
    with archive.connect() as connection:
        later = make_galaxies(connection, tmp_path / "gri.h5", 12, 2)
        connection.execute(
            "UPDATE archive.image SET bands = '{g,r,i}' WHERE observation_id = ANY(%s)", (later.observation_id,)
        )
    with cluster(None) as client:
        for each in plan(archive.config):
            jobs.predict(archive.config, client, each)
    with archive.connect() as connection:
        for name in result:
            model = load_model(connection, find_model(connection, name))
            assert model.network.input_shapes["image"] == ((24, 24, 3) if name == "shown" else (16, 16, 3))
            assert stale_units(connection, model.record) == []
            stored = evaluate(connection, model.record).scores["log_mstar_fib"]["network"]
            assert stored["sigma"] == pytest.approx(result[name]["test"]["log_mstar_fib"]["network"]["sigma"], rel=1e-4)
            counts = connection.execute(
                "SELECT count(*) FILTER (WHERE observation_id = ANY(%s)), count(*) FROM archive.embedding "
                "WHERE model_id = %s",
                (later.observation_id, model.record.model_id),
            ).fetchone()
            # Images without z have no value of a model that reads it.
            n_later = 0 if name == "rz" else len(later.observation_id)
            assert counts == (n_later, len(galaxies.observation_id) + n_later)


def test_models_are_put_side_by_side_on_the_same_objects(filled: tuple[Any, Any], tmp_path: Path) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        found = [(model, evaluate(connection, model)) for model in (find_model(connection, n) for n in ("gr", "rz"))]
    for name, (first, second) in side_by_side(found).items():
        assert (first.model, first.bands, first.resolution, first.backbone) == ("gr", "gr", "16", "galeffnet tiny")
        assert (second.model, second.bands) == ("rz", "rz")
        residual = [each.held_out[name].quantiles["q50"] - each.held_out[name].true for _, each in found]
        assert first.metrics["n"] == second.metrics["n"] == len(residual[0])
        assert first.metrics["sigma"] == pytest.approx(residual[0].std())
        assert (first.sigma_change, first.sigma_change_err) == (None, None)
        assert second.sigma_change == pytest.approx(residual[1].std() - residual[0].std())
        if name == "log_ssfr_fib":
            assert second.sigma_change > 5 * second.sigma_change_err
    runner = CliRunner()
    done = runner.invoke(app, ["gr", "rz", "--json", "--plots", str(tmp_path / "plots")], obj=archive.config)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    rows = told["side_by_side"]["log_ssfr_fib"]
    assert [(row["model"], row["bands"]) for row in rows] == [("gr", "gr"), ("rz", "rz")]
    assert rows[1]["sigma_change"] == side_by_side(found)["log_ssfr_fib"][1].sigma_change
    assert (tmp_path / "plots" / "side-by-side-log_ssfr_fib.png").stat().st_size > 5000
    done = runner.invoke(app, ["gr", "rz"], obj=archive.config)
    assert "log_mstar_fib, side by side on the same held-out objects" in done.output
    write_report(tmp_path / "report.html", [(model, each, []) for model, each in found])
    page = ElementTree.fromstring((tmp_path / "report.html").read_text().replace("<!doctype html>", "").replace(
        '<meta charset="utf-8">', ""
    ))  # fmt: skip
    assert [heading.text for heading in page.findall("body/h2")] == ["Side by side", "gr", "rz"]
    cells = [cell.text for cell in page.findall("body/table")[0].findall("tr")[2]]
    assert cells[:5] == ["rz", "improved", "galeffnet tiny", "rz", "16"]
    other = replace(found[1][0], training_set_id=99)
    with pytest.raises(GalbaseError, match="were trained on different sets"):
        side_by_side([found[0], (other, found[1][1])])
    assert of_one_set([found[0], (other, found[1][1])]) == []


def test_the_error_of_a_difference_is_that_of_the_same_objects() -> None:
    rng = np.random.default_rng(3)
    hard, own = rng.normal(0, 1, 400), rng.normal(0, 0.1, (2, 400))
    change, error = sigma_change(hard + own[0], hard + own[1])
    assert change == pytest.approx((hard + own[0]).std() - (hard + own[1]).std())
    # Over many draws of both: of independent objects it would be 0.05.
    drawn = []
    for _ in range(400):
        common, each = rng.normal(0, 1, 400), rng.normal(0, 0.1, (2, 400))
        drawn.append((common + each[0]).std() - (common + each[1]).std())
    assert error == pytest.approx(np.std(drawn), rel=0.25)


def test_what_the_training_set_does_not_have_is_refused_before_anything_is_read(round_set: tuple[Any, Any]) -> None:
    archive, _ = round_set
    with archive.connect() as connection:
        found = find_training_set(connection, "round")
        with pytest.raises(GalbaseError, match="have bands g, r, z, not all of i"):
            check_request(connection, request("i", bands=("i",)), found)
        with pytest.raises(UsageError, match="is not from 1 to 64"):
            check_request(connection, request("fine", resolution_px=152), found)
        check_request(connection, request("gz", bands=("g", "z"), resolution_px=64), found)
