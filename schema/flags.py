"""The one registry of flag bits; `galbase db upgrade` copies it to table `archive.flag_definition`."""

from __future__ import annotations

import enum


class ObservationFlag(enum.IntFlag):
    """Flags of an image or a spectrum (`observation.flag`)."""

    POSITION_UNKNOWN = 1
    POSITION_FROM_NAME = 2
    POSITION_DIFFERS = 4
    PIXEL_SCALE_UNKNOWN = 8
    NO_CATALOGUE_SOURCE = 16
    DISPLAY_IMAGE = 32
    INCOMPLETE_COVERAGE = 64


class SourceFlag(enum.IntFlag):
    """Flags of a catalogue row (`source.flag`)."""

    NON_FINITE_MEASUREMENT = 1
    DUPLICATE = 2


class PreprocessFlag(enum.IntFlag):
    """Flags of a preprocessing verdict (`preprocess.flag`)."""

    NON_FINITE = 1
    CONSTANT_IMAGE = 2
    IMAGE_TOO_SMALL = 4
    NO_CONTOUR = 8
    NO_TARGET = 16
    TARGET_OFF_CENTRE = 32
    TARGET_TOO_SMALL = 64
    TARGET_TOO_LARGE = 128
    BLENDED = 256
    BLENDED_SECOND_CHECK = 512
    PIXEL_SCALE_UNKNOWN = 1024
    ELLIPSE_OUTSIDE_STAMP = 2048
    NO_SOURCE_DETECTED = 4096
    BANDS_UNKNOWN = 8192
    LOW_SURFACE_BRIGHTNESS = 16384
    INTERLOPER_MASKED = 32768
    SATURATED = 65536


class PredictionFlag(enum.IntFlag):
    """Flags of a prediction or an embedding (`prediction.flag`, `embedding.flag`)."""

    SIMULATION_TRAINED = 1
    PIXEL_SCALE_UNKNOWN = 2
    OUT_OF_DOMAIN = 4
    IN_TRAINING_SET = 8
    STALE = 16
    BLENDED = 32
    UNUSABLE_VECTOR = 64


# Pairs, not a dict: equal bits of two registries are equal keys.
_MEANING: tuple[tuple[enum.IntFlag, str], ...] = (
    (ObservationFlag.POSITION_UNKNOWN, "no position in manifest, file name or header: belongs to no source"),
    (ObservationFlag.POSITION_FROM_NAME, "the position was read from the file name"),
    (ObservationFlag.POSITION_DIFFERS, "manifest, header, file name differ by over 1 arcsec; the first is used"),
    (ObservationFlag.PIXEL_SCALE_UNKNOWN, "the pixel scale is not known: no criterion in arcsec is applied"),
    (ObservationFlag.NO_CATALOGUE_SOURCE, "no catalogue row in this release: the source comes from the file itself"),
    (ObservationFlag.DISPLAY_IMAGE, "display colours (JPEG or PNG), not calibrated fluxes"),
    (ObservationFlag.INCOMPLETE_COVERAGE, "pixels without data, NaN: the stamp runs over its frame's edge or a gap"),
    (SourceFlag.NON_FINITE_MEASUREMENT, "a measurement was infinite in the file and is NULL here"),
    (SourceFlag.DUPLICATE, "another detection of the same release stands for this one: `galbase duplicates`"),
    (PreprocessFlag.NON_FINITE, "pixels are not finite where the target should be"),
    (PreprocessFlag.CONSTANT_IMAGE, "all pixels are equal"),
    (PreprocessFlag.IMAGE_TOO_SMALL, "the image is smaller than the stamp"),
    (PreprocessFlag.NO_CONTOUR, "no contour that an ellipse can be fitted to"),
    (PreprocessFlag.NO_TARGET, "no fitted ellipse qualifies as the target"),
    (PreprocessFlag.TARGET_OFF_CENTRE, "the nearest ellipse is too far from the image centre"),
    (PreprocessFlag.TARGET_TOO_SMALL, "a semi-axis of the target is below the least size"),
    (PreprocessFlag.TARGET_TOO_LARGE, "the minimum enclosing circle is 6 arcsec (23 px) in radius or larger"),
    (PreprocessFlag.BLENDED, "more than one source inside the mask; improved: the blend score exceeds its limit"),
    (PreprocessFlag.BLENDED_SECOND_CHECK, "the second threshold finds more than two regions inside the mask"),
    (PreprocessFlag.PIXEL_SCALE_UNKNOWN, "criteria in arcsec were not applied: the pixel scale is unknown"),
    (PreprocessFlag.ELLIPSE_OUTSIDE_STAMP, "the enlarged ellipse is cut by the stamp's edge"),
    (PreprocessFlag.NO_SOURCE_DETECTED, "no source above the detection threshold inside the mask"),
    (PreprocessFlag.BANDS_UNKNOWN, "the bands cannot be made into display colours: not one to three of g, r, i, z"),
    (
        PreprocessFlag.LOW_SURFACE_BRIGHTNESS,
        "improved: found only in the image smoothed for diffuse light",
    ),
    (PreprocessFlag.INTERLOPER_MASKED, "improved: another source lies within the enlarged ellipse and is masked"),
    (PreprocessFlag.SATURATED, "improved: pixels of the target's core are flat at its largest flux"),
    (PredictionFlag.SIMULATION_TRAINED, "a network trained on simulations judged a real image"),
    (PredictionFlag.PIXEL_SCALE_UNKNOWN, "the pixel scale of the image is unknown"),
    (PredictionFlag.OUT_OF_DOMAIN, "the embedding lies farther from the training set than 99 % of its own members"),
    (PredictionFlag.IN_TRAINING_SET, "the image, or another of its galaxy, was used to fit or calibrate the model"),
    (PredictionFlag.STALE, "inputs have changed since; `galbase refresh` computes it anew"),
    (PredictionFlag.BLENDED, "preprocessing found a blend"),
    (PredictionFlag.UNUSABLE_VECTOR, "the embedding is not finite or has no length; it is NULL"),
)

REGISTRIES: dict[str, type[enum.IntFlag]] = {
    "observation": ObservationFlag,
    "source": SourceFlag,
    "preprocess": PreprocessFlag,
    "prediction": PredictionFlag,
}


def definitions() -> list[tuple[str, int, str, str]]:
    """All flags as (registry, value, name, meaning), in order of registry and value."""
    meaning = {(type(flag), int(flag)): text for flag, text in _MEANING}
    return [
        (registry, int(flag), str(flag.name), meaning[flags, int(flag)])
        for registry, flags in REGISTRIES.items()
        for flag in flags
    ]
