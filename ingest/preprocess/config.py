"""Options of the preprocessing methods: every point where a paper and its code disagree is one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from galbase.schema.errors import UsageError

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": ("galeffnet",),
    "grey_order": ("rgb", "bgr"),
    "threshold_stop": ("converged", "one_update", "delta"),
    "contours_of": ("edges", "regions"),
    "target": ("nearest", "last"),
    "centre_inside": ("not_required", "rotated", "axis_aligned"),
    "mask_drawing": ("exact", "truncated"),
    "mask_space": ("display", "flux"),
    "radius_of": ("region", "ellipse"),
    "radius_rule": ("below", "above"),
    "background": ("after_masking", "before_masking"),
    "second_check_count": ("regions", "labels"),
    "display_resize": ("resize", "centre_crop"),
}
# What method improved has of its own, and what it reads of the published methods' options.
_OWN = (
    "faint_kernel_px", "faint_sigma", "symmetry_kernel_px", "core_px", "max_blend_score", "interloper_score",
    "interloper_margin_px", "lone_sigma", "lone_share", "lone_max_px",
    "tail_prominence",
)  # fmt: skip
_READ_BY_IMPROVED = (
    "method", "max_centre_distance_px", "min_semi_axis_px", "enlargement", "radius_rule", "max_radius_px",
    "max_radius_arcsec", "reference_scale_arcsec", "detect_sigma", "detect_pixels", "kernel_fwhm_px", "deblend_levels",
    "deblend_contrast", "image_px", "stamp_px", "display_resize", *_OWN,
)  # fmt: skip
_LEAST: dict[str, float] = {
    "threshold_delta": 0.0,
    "max_centre_distance_px": 0.0,
    "min_semi_axis_px": 0.0,
    "enlargement": 1.0,
    "max_radius_px": 0.0,
    "max_radius_arcsec": 0.0,
    "reference_scale_arcsec": 1e-6,
    "background_box_px": 8,
    "background_filter": 1,
    "detect_sigma": 0.0,
    "detect_pixels": 1,
    "kernel_fwhm_px": 0.1,
    "deblend_levels": 1,
    "deblend_contrast": 0.0,
    "second_check_regions": 0,
    "second_check_pixels": 0,
    "image_px": 16,
    "stamp_px": 8,
    "faint_kernel_px": 0.5,
    "faint_sigma": 0.0,
    "symmetry_kernel_px": 0.5,
    "core_px": 0.0,
    "max_blend_score": 0.0,
    "interloper_score": 0.0,
    "interloper_margin_px": 0,
    "lone_sigma": 1.0,
    "lone_share": 0.0,
    "lone_max_px": 0,
    "tail_prominence": 0.0,
}


@dataclass(frozen=True)
class PreprocessConfig:
    """Parameters of one preprocessing method.

    The defaults are those of GalEffNet's text (Zhong et al. 2024, section 2.2).

    Parameters
    ----------
    method : str
        Pipeline that reads the options.
    grey_order : {'rgb', 'bgr'}
        Channel order that the grey weights 0.299, 0.587, 0.114 are applied to. The published code takes its
        RGB image for BGR.
    threshold_stop : {'converged', 'one_update', 'delta'}
        The text iterates until the threshold stays; GalEffNet's code leaves after one update; MMLforGalAM's
        code stops when it moves by less than `threshold_delta` (36/255 there).
    threshold_delta : float
        Grey levels in [0, 1]; used by 'delta' only.
    contours_of : {'edges', 'regions'}
        Contours of Canny's edges of the binary image (text and codes), or of the binary image itself. Canny leaves
        gaps where noise roughens a region's edge; the open contour's ellipse then misses the galaxy, which is how
        most targets are lost: of 289 real colour images 117 have no central ellipse with 'edges'.
    target : {'nearest', 'last'}
        The ellipse nearest the image centre (text), or the last one that qualifies (MMLforGalAM's code).
    max_centre_distance_px, min_semi_axis_px : float
        The target's centre lies nearer to the image centre than the first; both semi-axes exceed the
        second. From the code: the text only says that failed identifications were filtered out.
    centre_inside : {'not_required', 'rotated', 'axis_aligned'}
        Whether the image centre must lie in the ellipse; 'axis_aligned' (both codes) forgets the position
        angle.
    enlargement : float
        Factor on the ellipse before masking: 1.5 in the text, 1.4 in the code.
    mask_drawing : {'exact', 'truncated'}
        'truncated' cuts centre, axes and angle to integers (code).
    mask_space : {'display', 'flux'}
        What is set to zero outside the ellipse: the stretched image (text: black) or the flux (code: the
        sky then has the stretch's grey 0.13, and the second check sees fluxes).
    radius_of : {'region', 'ellipse'}
        The minimum circle around the largest region above threshold inside the mask (section 2.2.3), or the
        enlarged semi-major axis (section 4.4.1).
    radius_rule : {'below', 'above'}
        'below' keeps radii below the limit, as the selection within 6 arcsec means and the code does;
        'above' is the sentence as printed ("discarded galaxies with ... radius less than 23 pixels").
    max_radius_px, max_radius_arcsec : float
        The limit at the reference scale, and at any other known pixel scale.
    reference_scale_arcsec : float
        Pixel scale at which `max_radius_px` holds.
    background : {'after_masking', 'before_masking'}
        Where the background rms is measured. After masking, as published, most of the image is exactly
        black and the rms about 0, so that "1.5 times the rms" means nothing.
    background_box_px, background_filter, detect_sigma, detect_pixels, kernel_fwhm_px : int or float
        Mesh, median filter, threshold in rms, least connected pixels and smoothing of the source detection.
    deblend_levels, deblend_contrast : int, float
        Of the multi-threshold deblending (from the code).
    second_check_regions, second_check_pixels : int
        Blended if more than this many regions have more than this many pixels (text: 2 and 3; code: 2 and 0).
    second_check_count : {'regions', 'labels'}
        'labels' counts the background as a region, as OpenCV's label count does (code).
    image_px, stamp_px : int
        Side of the image that is judged and of the stamp cut from it.
    display_resize : {'resize', 'centre_crop'}
        How a display image (JPEG, PNG) of unknown pixel scale and larger than `image_px` is brought to it.
        A galaxy mostly fills such images, so a crop would cut it. Smaller images are never enlarged; an
        image of known pixel scale is cropped, never resampled.
    """

    method: str = "galeffnet"
    grey_order: str = "rgb"
    threshold_stop: str = "converged"
    threshold_delta: float = 36 / 255
    contours_of: str = "edges"
    target: str = "nearest"
    max_centre_distance_px: float = 5.0
    min_semi_axis_px: float = 3.0
    centre_inside: str = "not_required"
    enlargement: float = 1.5
    mask_drawing: str = "exact"
    mask_space: str = "display"
    radius_of: str = "region"
    radius_rule: str = "below"
    max_radius_px: float = 23.0
    max_radius_arcsec: float = 6.0
    reference_scale_arcsec: float = 0.262
    background: str = "after_masking"
    background_box_px: int = 50
    background_filter: int = 3
    detect_sigma: float = 1.5
    detect_pixels: int = 10
    kernel_fwhm_px: float = 3.0
    deblend_levels: int = 90
    deblend_contrast: float = 1e-6
    second_check_regions: int = 2
    second_check_pixels: int = 3
    second_check_count: str = "regions"
    image_px: int = 152
    stamp_px: int = 64
    display_resize: str = "resize"

    def __post_init__(self) -> None:
        for name, allowed in self._choices().items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name}={getattr(self, name)!r} is no option; choose {' or '.join(allowed)}.")
        for name, least in _LEAST.items():
            value = getattr(self, name, None)
            if value is not None and not least <= value < float("inf"):
                raise UsageError(f"{name}={value} is out of range; it must be finite and at least {least}.")
        if self.background_filter % 2 == 0:
            raise UsageError(f"background_filter={self.background_filter} must be odd.")
        if self.stamp_px > self.image_px:
            raise UsageError(f"stamp_px={self.stamp_px} exceeds image_px={self.image_px}; make it smaller.")

    @classmethod
    def _choices(cls) -> dict[str, tuple[str, ...]]:
        return _CHOICES

    @classmethod
    def _readable(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))

    def to_dict(self) -> dict[str, str | int | float]:
        """All options by name, ready for JSON."""
        values = asdict(self)
        return {name: values[name] for name in self._readable()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> PreprocessConfig:
        """The configuration with these options; those not named keep the method's defaults.

        Raises
        ------
        UsageError
            If an option is unknown, has the wrong type or is out of range.
        """
        method = ImprovedConfig if options.get("method") == "improved" else cls
        return method().with_options(options)

    def with_options(self, options: Mapping[str, Any]) -> PreprocessConfig:
        """A copy with some options changed; text such as a command line's is converted to the option's type.

        Raises
        ------
        UsageError
            If an option is unknown, has the wrong type or is out of range.
        """
        readable = self._readable()
        types: dict[str, Callable[[Any], Any]] = {f.name: type(f.default) for f in fields(self) if f.name in readable}
        changed: dict[str, Any] = {}
        for name, value in options.items():
            if name not in types:
                raise UsageError(f"unknown option {name!r}; the options are {', '.join(sorted(types))}.")
            try:
                changed[name] = types[name](value)
            except (TypeError, ValueError) as error:
                kind = types[name].__name__
                raise UsageError(f"{name}={value!r} is not of type {kind}; correct it.") from error
            if isinstance(value, float) and changed[name] != value:
                raise UsageError(f"{name}={value!r} is not a whole number; correct it.")
        return replace(self, **changed)

    def hash(self) -> str:
        """32 hexadecimal digits of BLAKE2b over the options: the same on any machine."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_NEVER = 10**6


@dataclass(frozen=True)
class ImprovedConfig(PreprocessConfig):
    """Parameters of method improved, see `improved`. Options of the published methods that it does not read are neither
    accepted nor hashed.

    Thresholds were chosen on simulated stamps of other seeds than those that `benchmarks/preprocess_truth.py` reports.

    Parameters
    ----------
    detect_sigma, detect_pixels, kernel_fwhm_px, deblend_levels, deblend_contrast
        Of the detection and deblending with sep; the threshold is in rms of an unsmoothed pixel.
    enlargement : float
        Factor on the ellipse of the isophote, to reach the outskirts below the threshold.
    faint_kernel_px, faint_sigma : float
        Standard deviation of the Gaussian smoothing, and threshold in its own rms, by which a target is looked for that
        the detection did not find.
    symmetry_kernel_px : float
        Standard deviation of the Gaussian that the image is smoothed with before its two halves are compared.
    core_px : float
        Radius about the target's peak within which nothing counts as another source.
    max_blend_score : float
        A larger score is a blend.
    interloper_score : float
        Score at a deblended source's peak above which it is another source; below, it is a part of the target.
    interloper_margin_px : int
        Width by which other sources' segments are grown before they are masked.
    lone_sigma, lone_share : float
        Excess of a compact source in the target over the same place on its other side, in rms of a pixel and as a share
        of its light, from which it is masked as another source.
    lone_max_px : int
        Most pixels of such a source; 0 for none.
    tail_prominence : float
        A deblended source beside the target is its tail if its peak is below this many times the brightest pixel of the
        seam between them; 0 for none.
    """

    method: str = "improved"
    max_radius_px: float = float(_NEVER)
    max_radius_arcsec: float = float(_NEVER)
    min_semi_axis_px: float = 1.5
    enlargement: float = 2.4
    deblend_levels: int = 16
    deblend_contrast: float = 0.01
    stamp_px: int = 152
    faint_kernel_px: float = 4.0
    faint_sigma: float = 4.0
    symmetry_kernel_px: float = 2.2
    core_px: float = 2.5
    max_blend_score: float = 1.3
    interloper_score: float = 3.0
    interloper_margin_px: int = 1
    lone_sigma: float = 10.0
    lone_share: float = 0.85
    lone_max_px: int = 120
    tail_prominence: float = 1.25

    def __post_init__(self) -> None:
        super().__post_init__()
        # At lower thresholds the noise alone connects all pixels of an image.
        if self.detect_sigma < 0.5:
            raise UsageError(f"detect_sigma={self.detect_sigma} is out of range; method improved needs at least 0.5.")

    @classmethod
    def _choices(cls) -> dict[str, tuple[str, ...]]:
        return {**_CHOICES, "method": ("improved",)}

    @classmethod
    def _readable(cls) -> tuple[str, ...]:
        return _READ_BY_IMPROVED


PRESETS: dict[str, PreprocessConfig] = {
    "galeffnet": PreprocessConfig(),
    "galeffnet_code": PreprocessConfig(
        grey_order="bgr",
        threshold_stop="one_update",
        centre_inside="axis_aligned",
        enlargement=1.4,
        mask_drawing="truncated",
        mask_space="flux",
        second_check_pixels=0,
        second_check_count="labels",
    ),
    # GPM-ResNet, section 2.2: GalEffNet's steps with another enlargement and one blend check, on the whole image.
    "gpm_resnet": PreprocessConfig(enlargement=1.4, second_check_regions=_NEVER, stamp_px=152),
    # MMLforGalAM, section 2.2.2: GalEffNet's masks and one blend check on SDSS cutouts of 128 pixels, without a limit
    # of size. The crop to the target and its resampling to 128 pixels are the network's input, and no verdict.
    "mmlforgalam": PreprocessConfig(
        max_radius_px=float(_NEVER),
        max_radius_arcsec=float(_NEVER),
        reference_scale_arcsec=0.396,
        second_check_regions=_NEVER,
        image_px=128,
        stamp_px=128,
    ),
    "improved": ImprovedConfig(),
}


def preset(name: str) -> PreprocessConfig:
    """The registered configuration of this name.

    Raises
    ------
    UsageError
        If there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preprocessing configuration {name!r}; choose {' or '.join(PRESETS)}.")
    return PRESETS[name]


def parse_options(texts: Iterable[str]) -> dict[str, str]:
    """Options written as ``key=value``.

    Raises
    ------
    UsageError
        If a text has no equals sign or a key comes twice.
    """
    options: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"option {text!r} is not key=value; write for example enlargement=1.4.")
        if key in options:
            raise UsageError(f"option {key!r} is given twice; give it once.")
        options[key.strip()] = value.strip()
    return options
