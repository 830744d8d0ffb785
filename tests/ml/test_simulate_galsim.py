"""Drawn galaxies, bulges with discs and blends included, against galsim: flux, size and ellipticity within 1 %."""

import numpy as np
import pytest

from galbase.ml.simulate.block import Plan, draw_block
from galbase.ml.simulate.images import CAMERAS, conditions, pixel_scale
from galbase.ml.simulate.render import BlobSet, render_stamp
from galbase.ml.simulate.scene import build_scene

galsim = pytest.importorskip("galsim", reason="galsim is a development dependency")

N_EACH = 110
NO_BLOBS = BlobSet(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 1)))


@pytest.fixture(scope="module")
def block():
    return draw_block(Plan(900, 17), 0)


def with_galsim(sersic, scale, size, fwhm_px, beta):
    """The components of a scene in one band, drawn by galsim; our x grows to the west, as columns do."""
    parts = []
    for k in range(len(sersic.n)):
        radius = sersic.radius_px[k] * scale
        # our profile tapers off between 7 and 8 r_e; galsim's is cut in the middle
        part = galsim.Sersic(n=sersic.n[k], half_light_radius=radius, trunc=7.5 * radius, flux_untruncated=True)
        part = part.transform(1, 0, 0, sersic.q[k]).withFlux(sersic.flux[k, 0])
        part = part.rotate((sersic.pa_rad[k] + np.pi / 2) * galsim.radians)
        parts.append(part.shift(sersic.dx[k] * scale, sersic.dy[k] * scale))
    seen = galsim.Convolve(galsim.Sum(parts), galsim.Moffat(beta=beta, fwhm=fwhm_px * scale))
    return seen.drawImage(nx=size, ny=size, scale=scale, method="auto").array


def moments(image, sigma):
    """Flux, and size and ellipticity about the centroid under a Gaussian window."""
    at = np.arange(len(image)) - (len(image) - 1) / 2
    x, y = np.meshgrid(at, at)
    weight = image * np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    x, y = x - (weight * x).sum() / weight.sum(), y - (weight * y).sum() / weight.sum()
    xx, yy, xy = ((weight * v).sum() / weight.sum() for v in (x * x, y * y, x * y))
    return image.sum(), np.sqrt(xx + yy), (xx - yy) / (xx + yy), 2 * xy / (xx + yy)


@pytest.mark.parametrize(("survey", "beta"), [("legacy", 3.5), ("sdss", 3.5), ("legacy", 2.5)])
def test_galaxies_are_those_of_galsim(block, survey, beta):
    parameters, camera, scale = Plan(1, 1).parameters, CAMERAS[survey], pixel_scale(survey, Plan(1, 1).parameters)
    size = camera.canvas.size
    count = N_EACH if beta == 3.5 else 25
    found, composite, blended = [], 0, 0
    # blends and composites first, then whatever comes
    order = np.argsort(~block.blend.blended, kind="stable")
    order = np.r_[order[:40], order[200:]]
    for index in order[block.structure.half_light_arcsec[order] < 5][:count]:
        scene = build_scene(
            int(index), np.random.default_rng(int(index)), block.population, block.structure, block.sky, block.blend,
            parameters,
        )  # fmt: skip
        sersic, _ = scene.on(scale, slice(camera.filters.start + 1, camera.filters.start + 2), size)
        fwhm = conditions(survey, block).psf_fwhm_arcsec[index, 1:2] / scale
        ours = render_stamp(sersic, NO_BLOBS, fwhm, canvas=camera.canvas, beta=beta)[0]
        theirs = with_galsim(sersic, scale, size, float(fwhm[0]), beta)
        window = 1.5 * block.structure.half_light_arcsec[index] / scale + 4
        got, want = np.array(moments(ours, window)), np.array(moments(theirs, window))
        found.append([got[0] / want[0] - 1, got[1] / want[1] - 1, got[2] - want[2], got[3] - want[3]])
        composite += len(sersic.n) > 1
        blended += bool(block.blend.blended[index])
    found = np.abs(found)
    assert len(found) == count
    assert composite > count // 2
    assert blended >= 20
    assert found.max() < 0.01, found.max(axis=0)
    assert np.median(found, axis=0).max() < 0.002
