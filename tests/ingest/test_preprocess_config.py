"""Options: named, checked, hashed."""

import dataclasses
import json
import subprocess
import sys

import pytest

from galbase.ingest.preprocess.config import PRESETS, PreprocessConfig, parse_options, preset
from galbase.schema.errors import UsageError


def test_defaults_are_the_published_text() -> None:
    text = preset("galeffnet")
    assert text == PreprocessConfig()
    assert (text.threshold_stop, text.enlargement, text.background) == ("converged", 1.5, "after_masking")
    assert (text.max_radius_px, text.max_radius_arcsec, text.image_px, text.stamp_px) == (23, 6, 152, 64)
    assert (text.detect_sigma, text.detect_pixels) == (1.5, 10)
    assert (text.second_check_regions, text.second_check_pixels) == (2, 3)


def test_every_option_changes_the_hash_and_survives_json() -> None:
    base = PreprocessConfig()
    others = {
        "method": None, "grey_order": "bgr", "threshold_stop": "delta", "contours_of": "regions", "target": "last",
        "centre_inside": "rotated", "mask_drawing": "truncated", "mask_space": "flux", "radius_of": "ellipse",
        "radius_rule": "above", "background": "before_masking", "second_check_count": "labels",
        "display_resize": "centre_crop", "background_filter": 5,
    }  # fmt: skip
    hashes = {base.hash()}
    for field in dataclasses.fields(base):
        value = getattr(base, field.name)
        other = others.get(field.name, value + 2 if not isinstance(value, str) else None)
        if other is None:
            continue
        changed = base.with_options({field.name: other})
        hashes.add(changed.hash())
        assert PreprocessConfig.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed
    assert len(hashes) == len(dataclasses.fields(base))
    assert len({config.hash() for config in PRESETS.values()}) == len(PRESETS)


def test_hash_is_the_same_in_another_process() -> None:
    code = "from galbase.ingest.preprocess.config import preset; print(preset('galeffnet').hash())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == preset("galeffnet").hash()
    # An integer written for a real number is the same option.
    assert (
        preset("galeffnet").with_options({"enlargement": 2}).hash()
        == preset("galeffnet").with_options({"enlargement": "2.0"}).hash()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enlarge": 2}, "unknown option 'enlarge'; the options are background"),
        ({"enlargement": "big"}, "enlargement='big' is not of type float"),
        ({"enlargement": float("nan")}, "out of range|not a whole"),
        ({"enlargement": 0.5}, "enlargement=0.5 is out of range"),
        ({"enlargement": "inf"}, "enlargement=inf is out of range"),
        ({"stamp_px": 200}, "stamp_px=200 exceeds image_px=152"),
        ({"stamp_px": 64.5}, "stamp_px=64.5 is not a whole number"),
        ({"background": "never"}, "choose after_masking or before_masking"),
        ({"background_filter": 4}, "must be odd"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PreprocessConfig.from_dict(options)


def test_command_line_options() -> None:
    assert parse_options(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    for texts, message in ((["a"], "not key=value"), (["=1"], "not key=value"), (["a=1", "a=2"], "given twice")):
        with pytest.raises(UsageError, match=message):
            parse_options(texts)
    with pytest.raises(UsageError, match="choose galeffnet or galeffnet_code"):
        preset("unknown")
