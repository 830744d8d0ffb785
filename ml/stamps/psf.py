"""PSF images for Sersic stamps: simulated Moffats, or images and stars of a FITS file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from galbase.ml.stamps.frame import FRAME_MIN_PX, Frame, open_images, read_frame
from galbase.ml.stamps.parameters import PSF_PX, StampParameters
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

_OVERSAMPLING = 5
# a coarser PSF cannot be shifted by part of a pixel without error
FWHM_PX_MIN = 1.8
# a broader one leaves a tenth of its light outside 25 px
FWHM_PX_MAX = 9.0
_STAR_SNR = 80.0
_STAR_WIDTH_TOLERANCE = 0.12
_STACK = 9
_STACK_MIN = 3
_ZOOM = 4


@dataclass(frozen=True, eq=False)
class PsfSet:
    """PSF images of a file.

    Attributes
    ----------
    image : (n, 25, 25) float32
        Unit sum, centred on the middle pixel.
    origin : list of str
        Where each comes from: the file's name and its extension, plane, or position [px].
    kept : (n,) float64
        Share of the given image's light inside 25x25 px, 1 where the image was no larger.
    """

    image: Float32Array
    origin: list[str]
    kept: FloatArray


def check_moffats(parameters: StampParameters) -> None:
    """Refuse simulated PSFs that 25 px cannot hold, or that the pixels do not sample.

    Raises
    ------
    GalbaseError
    """
    fwhm_px = parameters.psf_fwhm_arcsec / parameters.pixel_scale_arcsec
    if not FWHM_PX_MIN <= fwhm_px <= FWHM_PX_MAX:
        raise GalbaseError(
            f"simulated PSFs of {parameters.psf_fwhm_arcsec:g} arcsec are {fwhm_px:.1f} px wide at "
            f"{parameters.pixel_scale_arcsec:g} arcsec/px; {FWHM_PX_MIN:g} to {FWHM_PX_MAX:g} px fit {PSF_PX} px. "
            "Give PSF images (--psf) or another FWHM (--psf-fwhm)."
        )


def moffat_images(rng: np.random.Generator, n: int, parameters: StampParameters) -> tuple[Float32Array, FloatArray]:
    """Elliptical Moffat PSFs (Moffat 1969), averaged over each pixel.

    Parameters
    ----------
    rng : numpy.random.Generator
    n : int
        How many.
    parameters : StampParameters
        FWHM, exponent and ellipticity.

    Returns
    -------
    image : (n, 25, 25) float32
        Unit sum.
    fwhm_arcsec : (n,) float64
        Geometric mean FWHM before the pixel.
    """
    low, high = parameters.psf_beta
    beta = rng.uniform(low, high, n)
    fwhm = parameters.psf_fwhm_arcsec + parameters.psf_fwhm_scatter_arcsec * rng.standard_normal(n)
    fwhm = np.maximum(fwhm, FWHM_PX_MIN * parameters.pixel_scale_arcsec)
    ratio = 1 - parameters.psf_ellipticity_max * rng.random(n)
    angle = rng.uniform(0, np.pi, n)
    # FWHM = 2 a sqrt(2^(1/beta) - 1); a is kept as the geometric mean of both axes
    scale = fwhm / parameters.pixel_scale_arcsec / (2 * np.sqrt(2 ** (1 / beta) - 1))
    at = ((np.arange(PSF_PX * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - PSF_PX / 2).astype(np.float32)
    x, y = at[None, :], at[:, None]
    image = np.empty((n, PSF_PX, PSF_PX), np.float32)
    for row in range(n):
        sine, cosine = np.float32(np.sin(angle[row])), np.float32(np.cos(angle[row]))
        major, minor = y * cosine - x * sine, x * cosine + y * sine
        square = (major * major * np.float32(ratio[row]) + minor * minor / np.float32(ratio[row])) / np.float32(
            scale[row] ** 2
        )
        fine = np.exp(np.float32(-beta[row]) * np.log1p(square))
        image[row] = fine.reshape(PSF_PX, _OVERSAMPLING, PSF_PX, _OVERSAMPLING).sum(axis=(1, 3))
    image /= image.sum(axis=(1, 2), keepdims=True)
    return image, fwhm


def half_maximum_fwhm(image: Float32Array) -> FloatArray:
    """FWHM [px] of PSF images: the diameter of a disc as large as the area above half of the peak.

    Parameters
    ----------
    image : (m, 25, 25) float32
        Well sampled, centred images.

    Returns
    -------
    (m,) float64
    """
    size = PSF_PX * _ZOOM
    fine = irfft2(_padded_spectrum(rfft2(image), size), s=(size, size))
    area = np.count_nonzero(fine > 0.5 * fine.max(axis=(1, 2), keepdims=True), axis=(1, 2)) / _ZOOM**2
    fwhm: FloatArray = 2 * np.sqrt(area / np.pi)
    return fwhm


def _padded_spectrum(spectrum: NDArray[np.complex64], size: int) -> NDArray[np.complex64]:
    """Spectrum of the same images on a finer grid."""
    half = PSF_PX // 2
    padded = np.zeros((len(spectrum), size, size // 2 + 1), np.complex64)
    padded[:, : half + 1, : half + 1] = spectrum[:, : half + 1]
    padded[:, -half:, : half + 1] = spectrum[:, -half:]
    return padded


def second_moment_fwhm(image: NDArray[np.floating]) -> float:
    """FWHM [px] of the Gaussian with the image's width under a matched Gaussian window.

    The adaptive moments of Bernstein & Jarvis 2002 (AJ 123, 583), section 3.1, for a round window.
    """
    y, x = (np.indices(image.shape) - np.array([(s - 1) / 2 for s in image.shape])[:, None, None]).astype(float)
    variance = 4.0
    cx = cy = 0.0
    for _ in range(60):
        weight = image * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / variance)
        total = weight.sum()
        if not total > 0:
            return float("nan")
        cx, cy = float((weight * x).sum() / total), float((weight * y).sum() / total)
        seen = float((weight * ((x - cx) ** 2 + (y - cy) ** 2)).sum() / total) / 2
        # a Gaussian of variance v under a window of variance w has 1 / (1/v + 1/w)
        new = 1 / max(1 / max(seen, 1e-3) - 1 / variance, 1e-3)
        if abs(new - variance) < 1e-6 * variance:
            break
        variance = new
    return float(np.sqrt(variance) * 2 * np.sqrt(2 * np.log(2)))


def centred_psf(image: NDArray[np.floating], origin: str) -> tuple[Float32Array, float]:
    """Sky-subtract, centre, cut to 25x25 px and normalise one PSF image.

    Parameters
    ----------
    image : (ny, nx) array
        Image of a star or of a PSF.
    origin : str
        Its name in messages.

    Returns
    -------
    image : (25, 25) float32
    kept : float
        Share of the light inside.

    Raises
    ------
    GalbaseError
        If the image is not finite, holds no light, or is too sharp for its pixels.
    """
    data = np.asarray(image, dtype=np.float64)
    if data.ndim != 2 or min(data.shape) < 7 or not np.isfinite(data).all():
        raise GalbaseError(f"{origin} is no PSF: an image of at least 7x7 finite pixels is needed, found {data.shape}.")
    border = np.concatenate([data[0], data[-1], data[1:-1, 0], data[1:-1, -1]])
    data = data - np.median(border)
    fwhm = second_moment_fwhm(data)
    if not data.sum() > 0 or not np.isfinite(fwhm):
        raise GalbaseError(f"{origin} is no PSF: no light above its border is left.")
    if fwhm < FWHM_PX_MIN:
        raise GalbaseError(
            f"{origin} has a FWHM of {fwhm:.2f} px; below {FWHM_PX_MIN} px its sub-pixel shape is unknown. "
            "Give PSFs on finer pixels."
        )
    side = 64 * -(-max(*data.shape, 2 * PSF_PX) // 64)
    padded = np.zeros((side, side))
    padded[: data.shape[0], : data.shape[1]] = data
    for _ in range(3):
        cx, cy = _centroid(padded, fwhm)
        padded = _shifted(padded, side // 2 - cx, side // 2 - cy)
    first = side // 2 - PSF_PX // 2
    cut = padded[first : first + PSF_PX, first : first + PSF_PX]
    return (cut / cut.sum()).astype(np.float32), min(1.0, float(cut.sum() / data.sum()))


def _centroid(image: FloatArray, fwhm: float) -> tuple[float, float]:
    """Centroid under a Gaussian window, from the brightest pixel on."""
    cy, cx = (float(v) for v in np.unravel_index(int(image.argmax()), image.shape))
    y, x = np.indices(image.shape).astype(float)
    variance = (fwhm / 2.355) ** 2
    for _ in range(40):
        weight = image * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / variance)
        mx, my = float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum())
        # the window pulls half way back
        step_x, step_y = 2 * (mx - cx), 2 * (my - cy)
        cx, cy = cx + step_x, cy + step_y
        if abs(step_x) + abs(step_y) < 1e-4:
            break
    return cx, cy


def _shifted(image: FloatArray, dx: float, dy: float) -> FloatArray:
    ky, kx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
    moved: FloatArray = irfft2(rfft2(image) * np.exp(-2j * np.pi * (kx * dx + ky * dy)), s=image.shape)
    return moved


def read_psfs(path: Path) -> PsfSet:
    """PSFs of a FITS file: every image and plane of a cube is one; an image above 256 px a side is searched for stars.

    Parameters
    ----------
    path : Path
        FITS file, also compressed with gzip or bzip2.

    Raises
    ------
    GalbaseError
        If the file holds no PSF, or one of its images is none.
    """
    images: list[Float32Array] = []
    origin: list[str] = []
    kept: list[float] = []
    for name, data in open_images(path):
        planes = [(name, data)] if data.ndim == 2 else [(f"{name}[{k}]", plane) for k, plane in enumerate(data)]
        for label, plane in planes:
            if plane.ndim != 2:
                raise GalbaseError(f"{label} has {plane.ndim + 1} axes; PSFs are images, or cubes of images.")
            if min(plane.shape) >= FRAME_MIN_PX:
                for star, image, share in stars(read_frame(path)):
                    images.append(image)
                    origin.append(star)
                    kept.append(share)
                break
            image, share = centred_psf(plane, label)
            images.append(image)
            origin.append(label)
            kept.append(share)
    if not images:
        raise GalbaseError(f"{path} holds no PSF image and no star that could serve as one.")
    return PsfSet(np.stack(images), origin, np.array(kept))


def stars(frame: Frame) -> list[tuple[str, Float32Array, float]]:
    """PSF images from the isolated, bright, unsaturated stars of a frame.

    Stars are the sources whose width agrees with the narrow mode of all bright ones'. Where each stands, the median
    of the nine nearest is the PSF.

    Parameters
    ----------
    frame : Frame
        A frame with its sources.

    Returns
    -------
    list of (origin, (25, 25) float32, light kept)

    Raises
    ------
    GalbaseError
        If there are fewer than three.
    """
    half = PSF_PX // 2
    candidates = []
    brightest = float(np.nanmax(frame.data))
    for source in frame.sources:
        x, y = round(source.x), round(source.y)
        window = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
        inside = half <= x < frame.data.shape[1] - half and half <= y < frame.data.shape[0] - half
        if not inside or source.snr < _STAR_SNR:
            continue
        labels = frame.labels[window]
        cut = frame.data[window]
        if ((labels != 0) & (labels != source.label)).any() or not frame.good[window].all():
            continue
        # a flat or clipped top is saturation
        if cut.max() > 0.8 * brightest or np.count_nonzero(cut > 0.97 * cut.max()) > 3:
            continue
        width = second_moment_fwhm(cut)
        if np.isfinite(width) and width >= FWHM_PX_MIN:
            candidates.append((width, source.x, source.y, cut))
    if not candidates:
        raise GalbaseError(f"{frame.name} shows no isolated star of S/N above {_STAR_SNR:g}; give PSF images instead.")
    widths = np.sort([width for width, *_ in candidates])
    # stars are the densest group of widths: the shortest span that holds a quarter of them, or three
    count = max(_STACK_MIN, len(widths) // 4)
    if len(widths) < count:
        raise GalbaseError(
            f"{frame.name} shows {len(widths)} isolated bright sources; {_STACK_MIN} stars of one width are needed."
        )
    span = widths[count - 1 :] - widths[: len(widths) - count + 1]
    mode = float(np.median(widths[int(span.argmin()) : int(span.argmin()) + count]))
    chosen = [(x, y, cut) for width, x, y, cut in candidates if abs(width - mode) < _STAR_WIDTH_TOLERANCE * mode]
    return _stacked(frame.name, chosen)


def _stacked(name: str, chosen: list[tuple[float, float, Float32Array]]) -> list[tuple[str, Float32Array, float]]:
    """At each star the median of the nearest ones: a PSF that varies over the frame, without noise or neighbours."""
    centred = [centred_psf(cut, f"{name} x={x:.1f} y={y:.1f}") for x, y, cut in chosen]
    image = np.stack([one for one, _ in centred])
    at = np.array([(x, y) for x, y, _ in chosen])
    made = []
    for x, y in at:
        near = np.argsort((at[:, 0] - x) ** 2 + (at[:, 1] - y) ** 2, kind="stable")[:_STACK]
        stack = np.median(image[near], axis=0)
        origin = f"{name} {len(near)} stars around x={x:.1f} y={y:.1f}"
        made.append((origin, (stack / stack.sum()).astype(np.float32), float(np.median([centred[k][1] for k in near]))))
    return made
