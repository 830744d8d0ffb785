"""The one registry of flag bits; `galbase db upgrade` copies it to table `archive.flag_definition`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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
    PSF_UNKNOWN = 128


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
    (PreprocessFlag.NO_TARGET, "nothing in the image qualifies as the target"),
    (PreprocessFlag.TARGET_OFF_CENTRE, "what is nearest to the image centre is too far from it"),
    (PreprocessFlag.TARGET_TOO_SMALL, "the target is smaller than the least size"),
    (PreprocessFlag.TARGET_TOO_LARGE, "the target's radius is not below the limit"),
    (PreprocessFlag.BLENDED, "another source shines within the target"),
    (PreprocessFlag.BLENDED_SECOND_CHECK, "a second threshold parts the target into too many regions"),
    (PreprocessFlag.PIXEL_SCALE_UNKNOWN, "criteria in arcsec were not applied: the pixel scale is unknown"),
    (PreprocessFlag.ELLIPSE_OUTSIDE_STAMP, "the enlarged ellipse is cut by the stamp's edge"),
    (PreprocessFlag.NO_SOURCE_DETECTED, "no source above the detection threshold where the target should be"),
    (PreprocessFlag.BANDS_UNKNOWN, "the bands cannot be made into display colours: not one to three of g, r, i, z"),
    (PreprocessFlag.LOW_SURFACE_BRIGHTNESS, "found only in the image smoothed for diffuse light"),
    (PreprocessFlag.INTERLOPER_MASKED, "another source lies within the enlarged ellipse and is masked"),
    (PreprocessFlag.SATURATED, "pixels of the target's core are flat at its largest flux"),
    (PredictionFlag.SIMULATION_TRAINED, "a network trained on simulations judged a real image"),
    (PredictionFlag.PIXEL_SCALE_UNKNOWN, "the pixel scale of the image is unknown"),
    (
        PredictionFlag.OUT_OF_DOMAIN,
        "the embedding lies farther from the training set than 99 % of its own members, or no training image "
        "had such a PSF",
    ),
    (PredictionFlag.IN_TRAINING_SET, "the image, or another of its galaxy, was used to fit or calibrate the model"),
    (PredictionFlag.STALE, "inputs have changed since; `galbase refresh` computes it anew"),
    (PredictionFlag.BLENDED, "preprocessing found a blend"),
    (PredictionFlag.UNUSABLE_VECTOR, "the embedding is not finite or has no length; it is NULL"),
    (PredictionFlag.PSF_UNKNOWN, "the model reads the width of the PSF, which is not known: the mean is taken for it"),
)

# These flags of a verdict inform; every other one keeps the image out.
INFORMATIVE = (
    PreprocessFlag.PIXEL_SCALE_UNKNOWN
    | PreprocessFlag.ELLIPSE_OUTSIDE_STAMP
    | PreprocessFlag.LOW_SURFACE_BRIGHTNESS
    | PreprocessFlag.INTERLOPER_MASKED
)
# Whose criterion a flag of a verdict is. GalEffNet: Zhong et al. 2024, MNRAS 531, 2011; GPM-ResNet: A&A 694, A271;
# MMLforGalAM: Wang et al. 2025, A&A 698, A222; improved and all methods: galbase. Names in lower case with underscores
# are options of the configuration.
_CRITERION: dict[PreprocessFlag, str] = {
    PreprocessFlag.NON_FINITE: "all methods: a pixel within max_centre_distance_px of the middle is not a finite flux",
    PreprocessFlag.CONSTANT_IMAGE: "all methods: an image of one value has neither threshold nor noise",
    PreprocessFlag.IMAGE_TOO_SMALL: "all methods: a side of the image is shorter than stamp_px",
    PreprocessFlag.NO_CONTOUR: "GalEffNet section 2.2, GPM-ResNet section 2.2, MMLforGalAM section 2.2.2: the target "
    "is an ellipse fitted to a contour of the image above its iterative threshold",
    PreprocessFlag.NO_TARGET: "GalEffNet's text: failed identifications are left out; its code: no ellipse has both "
    "semi-axes above min_semi_axis_px; codes of GalEffNet and MMLforGalAM: and holds the image centre (centre_inside); "
    "improved: neither a detection nor diffuse light within max_centre_distance_px of the middle",
    PreprocessFlag.TARGET_OFF_CENTRE: "GalEffNet's code: the ellipse nearest to the image centre is "
    "max_centre_distance_px from it or farther; improved: sources, but none that near",
    PreprocessFlag.TARGET_TOO_SMALL: "GalEffNet's code: semi-axes above min_semi_axis_px; GalEffNet section 2.2.3 as "
    "printed (radius_rule above): a radius below the limit; improved: semi-minor axis below min_semi_axis_px",
    PreprocessFlag.TARGET_TOO_LARGE: "GalEffNet section 2.2.3 and GPM-ResNet section 2.2: radius of the minimum "
    "enclosing circle below max_radius_px (23 pixels) at the reference scale, max_radius_arcsec (6 arcsec) at others; "
    "MMLforGalAM and improved have no limit of their own",
    PreprocessFlag.BLENDED: "GalEffNet section 2.2, GPM-ResNet section 2.2, MMLforGalAM section 2.2.2: detection and "
    "deblending find more than one source inside the mask; improved: blend_score above max_blend_score",
    PreprocessFlag.BLENDED_SECOND_CHECK: "GalEffNet section 2.2 alone: more than second_check_regions (2) regions of "
    "more than second_check_pixels (3) pixels above a new threshold inside the mask",
    PreprocessFlag.PIXEL_SCALE_UNKNOWN: "all methods: the limits in arcsec need a pixel scale",
    PreprocessFlag.ELLIPSE_OUTSIDE_STAMP: "all methods: the ellipse times enlargement passes the edge of the stamp",
    PreprocessFlag.NO_SOURCE_DETECTED: "GalEffNet section 2.2, GPM-ResNet section 2.2, MMLforGalAM section 2.2.2: the "
    "detection finds nothing inside the mask; improved: nothing in the whole image",
    PreprocessFlag.BANDS_UNKNOWN: "all methods: the Legacy Survey viewer's stretch has scales for g, r, i and z",
    PreprocessFlag.LOW_SURFACE_BRIGHTNESS: "improved: above faint_sigma after smoothing by faint_kernel_px only",
    PreprocessFlag.INTERLOPER_MASKED: "improved: a deblended source that the target's other side does not show",
    PreprocessFlag.SATURATED: "improved: five or more pixels of the target equal its largest flux",
}

REGISTRIES: dict[str, type[enum.IntFlag]] = {
    "observation": ObservationFlag,
    "source": SourceFlag,
    "preprocess": PreprocessFlag,
    "prediction": PredictionFlag,
}


@dataclass(frozen=True)
class FlagDefinition:
    """One bit, as `archive.flag_definition` has it.

    Parameters
    ----------
    registry : str
    value : int
    name, meaning : str
    criterion : str or None
        Whose criterion it is and how it is worded there; of registry 'preprocess' only.
    keeps_out : bool or None
        Whether an image with this flag is not kept; of registry 'preprocess' only.
    """

    registry: str
    value: int
    name: str
    meaning: str
    criterion: str | None
    keeps_out: bool | None


def definitions() -> list[FlagDefinition]:
    """All flags, in order of registry and value."""
    meaning = {(type(flag), int(flag)): text for flag, text in _MEANING}
    return [
        FlagDefinition(
            registry,
            int(flag),
            str(flag.name),
            meaning[flags, int(flag)],
            _CRITERION[flag] if isinstance(flag, PreprocessFlag) else None,
            not flag & INFORMATIVE if isinstance(flag, PreprocessFlag) else None,
        )
        for registry, flags in REGISTRIES.items()
        for flag in flags
    ]


def preprocess_reasons(flag: PreprocessFlag) -> list[FlagDefinition]:
    """What a verdict's flag says, what keeps the image out first."""
    said = [item for item in definitions() if item.registry == "preprocess" and item.value & flag]
    return sorted(said, key=lambda item: not item.keeps_out)
