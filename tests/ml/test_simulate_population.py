"""The drawn galaxies against published relations, and the drawn sky against healpy, astropy and real bricks."""

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from galbase.ml.simulate import labels, sed, sky
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import draw_population
from galbase.ml.simulate.structure import draw_structure
from galbase.schema.errors import GalbaseError

PARAMETERS = SurveyParameters()


@pytest.fixture(scope="module")
def population():
    return draw_population(3000, 11, PARAMETERS)


def r_magnitude(population):
    return 22.5 - 2.5 * np.log10(population.flux[:, :, 1].sum(axis=1))


def test_magnitude_limited(population):
    r_mag = r_magnitude(population)
    assert r_mag.max() < 19.5
    assert r_mag.min() > 13.5
    assert 0.70 < np.mean(r_mag < 17.77) < 0.95
    assert (population.z.min() > 0.01) & (population.z.max() < 0.25)
    # SDSS main sample: median redshift 0.10 (Strauss et al. 2002)
    assert np.median(population.z[r_mag < 17.77]) == pytest.approx(0.10, abs=0.02)


def test_mass_to_light_follows_taylor(population):
    """Taylor et al. 2011, eq. 7: log M/L_i = -0.68 + 0.70 (g - i), 0.1 dex of scatter."""
    z = np.full(len(population), 0.01)
    tilt = 0.14 * np.clip(population.log_zstar, -1, 0.4)
    flux = sum(
        sed.band_fluxes(population.population_mass[:, k], population.component_sfr[:, k], z, population.a_v[:, k], tilt)
        for k in (0, 1)
    )
    mag = 22.5 - 2.5 * np.log10(flux) - 5 * np.log10(sed.comoving_distance(z) * 1.01)[:, None] - 25
    # r - i is about half of r - z from blue to red galaxies
    i_mag = mag[:, 1] - 0.52 * (mag[:, 1] - mag[:, 2])
    ratio = population.log_mstar_tot + 0.4 * (i_mag - 4.58)
    miss = ratio - (-0.68 + 0.70 * (mag[:, 0] - i_mag))
    assert abs(np.median(miss)) < 0.15
    assert miss.std() < 0.12


def test_main_sequence_and_bimodality(population):
    forming = (~population.quenched) & (population.log_ssfr_tot > -10.9)
    sequence = 0.76 * population.log_mstar_tot - 7.64
    miss = (population.log_ssfr_tot + population.log_mstar_tot - sequence)[forming]
    assert abs(np.median(miss)) < 0.12
    assert miss.std() == pytest.approx(0.3, abs=0.08)
    rate = population.log_ssfr_tot
    valley = np.mean((rate > -11.2) & (rate < -10.8))
    assert valley < 0.5 * np.mean((rate > -10.2) & (rate < -9.8))
    assert valley < 0.5 * np.mean((rate > -12.2) & (rate < -11.8))
    massive = population.log_mstar_tot > 11
    small = population.log_mstar_tot < 10
    assert np.mean(rate[massive] < -11) > 0.6
    assert np.mean(rate[small] < -11) < 0.4


def test_mass_metallicity(population):
    mass = population.log_mstar_tot
    forming = population.log_ssfr_tot > -10.5
    for low, high, tremonti in ((9.4, 9.8, 8.86), (10.0, 10.4, 9.02), (10.6, 11.0, 9.12)):
        inside = forming & (mass > low) & (mass < high)
        assert np.median(population.oh12[inside]) == pytest.approx(tremonti, abs=0.08)


def test_colours_tell_star_formation(population):
    mag = 22.5 - 2.5 * np.log10(population.flux.sum(axis=1))
    colour = mag[:, 0] - mag[:, 1]
    assert np.corrcoef(colour, population.log_ssfr_tot)[0, 1] < -0.6
    # the red sequence at z = 0.1 has g - r of 0.95 (Hogg et al. 2004, shifted to the observed frame)
    red = (population.log_ssfr_tot < -11.5) & (np.abs(population.z - 0.1) < 0.01)
    assert np.median(colour[red]) == pytest.approx(0.97, abs=0.06)


def test_sizes_and_profiles(population):
    shape = draw_structure(population, 11)
    forming = population.log_ssfr_tot > -10.5
    assert np.median(shape.sersic[forming]) < 1.7
    assert np.median(shape.sersic[population.bulge_mass_fraction == 1]) > 3
    inside = (
        population.quenched & (np.abs(population.log_mstar_tot - 11.0) < 0.15) & (population.bulge_mass_fraction == 1)
    )
    circular = shape.half_light_kpc * np.sqrt(shape.q)
    assert np.median(circular[inside]) == pytest.approx(2.88e-6 * 10 ** (0.56 * 11.0), rel=0.15)
    assert np.mean(shape.half_light_arcsec < 6) > 0.9


def test_fibre_holds_less_than_the_whole(population):
    shape = draw_structure(population, 11)
    fibre = labels.fibre_truth(population, shape, PARAMETERS)
    assert np.all(fibre.log_mstar_fib < population.log_mstar_tot)
    # MPA-JHU: about a third of the light of main-sample galaxies
    assert np.median(10 ** (fibre.log_mstar_fib - population.log_mstar_tot)) == pytest.approx(0.37, abs=0.12)
    assert np.mean(fibre.log_ssfr_fib < population.log_ssfr_tot + 1e-9) > 0.85


def test_sky_blocks_and_separations(population):
    drawn = sky.draw_sky(len(population), 11, population.log_density, PARAMETERS)
    block = healpy.ang2pix(32, drawn.ra, drawn.dec, lonlat=True, nest=True)
    assert len(np.unique(block)) >= 100
    assert (drawn.ra > 355).any()
    assert (drawn.ra < 5).any()
    place = SkyCoord(drawn.ra * u.deg, drawn.dec * u.deg)
    _, separation, _ = place.match_to_catalog_sky(place, nthneighbor=2)
    assert separation.arcsec.min() >= 60


def test_an_overfull_sky_is_refused():
    with pytest.raises(GalbaseError, match="at most"):
        sky.draw_sky(10_000_000, 1, np.zeros(1), PARAMETERS)


def test_bricks_are_the_legacy_surveys(test_data):
    # sweeps hold only rows that lie in their own brick; tractor files reach over its border
    paths = sorted((test_data / "legacysurvey-tractor-sweep" / "t").glob("sweep-*.fits"))
    assert len(paths) == 3
    for path in paths:
        table = fits.getdata(path, 1)
        brickid, brickname = sky.bricks(table["RA"].astype(float), table["DEC"].astype(float))
        np.testing.assert_array_equal(brickid, table["BRICKID"])
        np.testing.assert_array_equal(brickname.astype(str), table["BRICKNAME"].astype(str))


def test_specobjid_is_sdss_packing(test_data):
    for path in (test_data / "sdss-pairs" / "spectra").glob("spec-*.fits"):
        row = fits.getdata(path, 2)[0]
        if row["RUN2D"].strip() == "26":
            packed = labels.specobjid(*(np.array([int(row[name])]) for name in ("PLATE", "MJD", "FIBERID")))
            assert packed[0] == int(row["SPECOBJID"])
