"""The drawn galaxies against published relations, and the drawn sky against healpy, astropy and real bricks."""

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from galbase.ml.simulate import labels, sky
from galbase.ml.simulate.block import Plan, draw_block
from galbase.ml.simulate.cosmology import comoving_distance
from galbase.ml.simulate.dust import calzetti
from galbase.ml.simulate.fibre import fibre_truth
from galbase.ml.simulate.filters import SDSS, SDSS_R, nanomaggies
from galbase.ml.simulate.footprint import footprint, permuted, positions_in
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import draw_population
from galbase.ml.simulate.sed import stellar_fluxes
from galbase.ml.simulate.ssp import ssp_grid, surviving_fraction
from galbase.ml.simulate.structure import draw_structure
from galbase.schema.errors import GalbaseError

PARAMETERS = SurveyParameters()


@pytest.fixture(scope="module")
def population():
    return draw_population(3000, 11, PARAMETERS)


def r_magnitude(population):
    return 22.5 - 2.5 * np.log10(population.flux[:, :, SDSS_R].sum(axis=1))


def test_magnitude_limited(population):
    r_mag = r_magnitude(population)
    assert r_mag.max() < 19.5
    assert r_mag.min() > 13.5
    assert 0.70 < np.mean(r_mag < 17.77) < 0.95
    assert (population.z.min() > 0.01) & (population.z.max() < 0.25)
    # SDSS main sample: median redshift 0.10 (Strauss et al. 2002)
    assert np.median(population.z[r_mag < 17.77]) == pytest.approx(0.10, abs=0.02)


def absolute_magnitudes(population):
    """Rest-frame SDSS g, r, i of the stars behind their dust, without k-correction by construction."""
    z = np.full(len(population), 0.001)
    weights = population.ssp_weights()
    flux = sum(stellar_fluxes(weights[:, k], z, population.a_v[:, k], SDSS) for k in (0, 1))
    return 22.5 - 2.5 * np.log10(flux) - 5 * np.log10(comoving_distance(z) * 1.001)[:, None] - 25


def test_mass_to_light_follows_taylor(population):
    """Taylor et al. 2011, eq. 7: log M/L_i = -0.68 + 0.70 (g - i), 0.1 dex of scatter; sun i = 4.58."""
    mag = absolute_magnitudes(population)
    colour = mag[:, 0] - mag[:, 2]
    miss = population.log_mstar_tot + 0.4 * (mag[:, 2] - 4.58) - (-0.68 + 0.70 * colour)
    assert abs(np.median(miss)) < 0.12
    assert miss.std() < 0.1
    for low in (0.4, 0.6, 0.8, 1.0):
        assert abs(np.median(miss[(colour > low) & (colour < low + 0.2)])) < 0.15


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


def test_colours_are_those_of_the_red_sequence_and_the_blue_cloud(population):
    mag = 22.5 - 2.5 * np.log10(population.flux.sum(axis=1))
    colour = mag[:, 3] - mag[:, 4]
    assert np.corrcoef(colour, population.log_ssfr_tot)[0, 1] < -0.6
    near = np.abs(population.z - 0.1) < 0.015
    # observed g - r at z = 0.1: red sequence 0.95 to 1.0, blue cloud 0.4 to 0.75 (Blanton et al. 2003, whose
    # 0.1(g-r) is this but for a constant of 0.01; Hogg et al. 2004)
    red = near & (population.log_ssfr_tot < -11.5) & (population.log_mstar_tot > 10.5)
    blue = near & (population.log_ssfr_tot > -10.3)
    assert np.median(colour[red]) == pytest.approx(0.98, abs=0.05)
    assert np.median(colour[blue]) == pytest.approx(0.6, abs=0.1)
    assert np.std(colour[red]) < 0.09
    # rest-frame r - i of galaxies: 0.1 in blue to 0.4 in red ones (Fukugita et al. 1995)
    rest = absolute_magnitudes(population)
    assert np.median((rest[:, 1] - rest[:, 2])[red]) == pytest.approx(0.37, abs=0.05)


def test_number_counts(population):
    """log N grows by 0.55 a magnitude at r of 14.5 to 17 (Yasuda et al. 2001: 0.6 less k-correction)."""
    r_mag = r_magnitude(population)
    edges = np.arange(14.75, 17.76, 0.5)
    count = np.histogram(r_mag, edges)[0]
    slope = np.polyfit(0.5 * (edges[1:] + edges[:-1]), np.log10(count), 1, w=np.sqrt(count))[0]
    assert slope == pytest.approx(0.55, abs=0.08)


def test_ages_and_metallicities_follow_gallazzi(population):
    """Gallazzi et al. 2005, table 2: medians of r-weighted age and of metallicity by mass."""
    shape = draw_structure(population, 11)
    fibre = fibre_truth(population, shape, PARAMETERS)
    mass = population.log_mstar_tot
    for centre, age, metal in ((9.5, 9.0, -0.57), (10.5, 9.5, -0.1), (11.0, 9.75, 0.08)):
        near = np.abs(mass - centre) < 0.2
        assert np.median(fibre.log_age_fib[near]) == pytest.approx(age, abs=0.2)
        assert np.median(fibre.mh_fib[near]) == pytest.approx(metal, abs=0.15)
    # the grid of populations bounds both, and nothing piles up there
    assert fibre.mh_fib.min() >= -0.7
    assert np.mean(fibre.mh_fib < -0.69) < 0.1
    assert np.mean(fibre.mh_fib > 0.39) < 0.03
    # neither is a function of star formation: both scatter at fixed mass and rate
    alike = (np.abs(mass - 10.5) < 0.25) & (np.abs(population.log_ssfr_tot + 10.25) < 0.15)
    assert alike.sum() > 60
    assert fibre.log_age_fib[alike].std() > 0.07
    assert fibre.mh_fib[alike].std() > 0.1


def test_ages_are_means_over_the_light_in_the_fibre(population):
    """By hand: every template through the r filter and its component's dust, times what the fibre takes in."""
    few = population.take(np.arange(12))
    shape = draw_structure(few, 1)
    fibre = fibre_truth(few, shape, PARAMETERS)
    grid = ssp_grid()
    for k in range(12):
        light = np.zeros((4, 10))
        for part in (0, 1):
            dust = 10 ** (-0.4 * few.a_v[k, part] * calzetti(grid.wave))
            unit = nanomaggies(grid.wave, grid.luminosity * dust, "sdss2010-r")
            mass = few.ssp_weights()[k, part].reshape(4, 10)
            light += fibre.component_fraction[k, part] * mass * unit
        age = (light * np.log10(grid.age_yr)).sum() / light.sum()
        assert fibre.log_age_fib[k] == pytest.approx(age, abs=0.003)
        assert fibre.mh_fib[k] == pytest.approx((light * grid.mh[:, None]).sum() / light.sum(), abs=0.003)
        # what was formed leaves the mass that the galaxy has
        left = (few.formed[k] * surviving_fraction(grid.age_yr)).sum()
        assert np.log10(left) == pytest.approx(few.log_mstar_tot[k], abs=1e-6)
        # and the youngest 170 Myr hold today's rate
        rate = few.formed[k, :, :3].sum() / grid.age_edges_yr[2]
        assert np.log10(rate) == pytest.approx(few.log_ssfr_tot[k] + few.log_mstar_tot[k], abs=0.02)


def test_the_break_tells_the_age(population):
    """D4000n: 1.1-1.4 where stars form, 1.7-2.05 in dead galaxies (Kauffmann et al. 2003, MNRAS 341, 33)."""
    fibre = fibre_truth(population, draw_structure(population, 11), PARAMETERS)
    forming, dead = fibre.log_ssfr_fib > -10.0, fibre.log_ssfr_fib < -11.7
    assert np.median(fibre.d4000n_fib[forming]) == pytest.approx(1.28, abs=0.08)
    assert np.median(fibre.d4000n_fib[dead]) == pytest.approx(1.83, abs=0.1)
    # log(age) rises with the break by about 1.5 dex from 1.3 to 1.85
    assert np.corrcoef(fibre.d4000n_fib, fibre.log_age_fib)[0, 1] > 0.9
    old, young = np.abs(fibre.d4000n_fib - 1.85) < 0.05, np.abs(fibre.d4000n_fib - 1.3) < 0.05
    assert 0.5 < np.median(fibre.log_age_fib[old]) - np.median(fibre.log_age_fib[young]) < 1.5


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
    fibre = fibre_truth(population, shape, PARAMETERS)
    assert np.all(fibre.log_mstar_fib < population.log_mstar_tot)
    # MPA-JHU: about a third of the light of main-sample galaxies
    assert np.median(10 ** (fibre.log_mstar_fib - population.log_mstar_tot)) == pytest.approx(0.37, abs=0.12)
    assert np.mean(fibre.log_ssfr_fib < population.log_ssfr_tot + 1e-9) > 0.85


def test_sky_blocks_and_separations():
    plan = Plan(5200, 11)
    blocks = [draw_block(plan, number).sky for number in range(plan.n_block)]
    assert len(blocks) == 3
    ra, dec = (np.concatenate([getattr(part, name) for part in blocks]) for name in ("ra", "dec"))
    block = healpy.ang2pix(32, ra, dec, lonlat=True, nest=True)
    assert len(np.unique(block)) >= 100
    assert (ra > 355).any()
    assert (ra < 5).any()
    place = SkyCoord(ra * u.deg, dec * u.deg)
    _, separation, _ = place.match_to_catalog_sky(place, nthneighbor=2)
    assert separation.arcsec.min() >= 60
    # groups: far more galaxies have a neighbour within 0.1 degrees than on a sky of chance
    chance = 1 - np.exp(-len(ra) / (180 * healpy.nside2pixarea(32, degrees=True)) * np.pi * 0.1**2)
    assert np.mean(separation.deg < 0.1) > chance + 0.06
    ids = {(b, o) for part in blocks for b, o in zip(part.brickid, part.objid, strict=True)}
    assert len(ids) == plan.size
    # a brick's conditions are the same for all its galaxies, in whichever block
    width = np.concatenate([part.legacy.psf_fwhm_arcsec[:, 1] for part in blocks])
    brick = np.concatenate([part.brickid for part in blocks])
    for one in np.unique(brick)[:300]:
        assert np.ptp(width[brick == one]) == 0


def test_neighbouring_cells_keep_their_distance():
    """Every order-10 cell of order-5 cells all over the largest footprint, face borders and high declinations too."""
    cells = np.r_[footprint(2_900_000), footprint(1_400_000, "pretraining")]
    assert len(np.unique(cells)) == len(cells)
    _, dec = healpy.pix2ang(32, cells, nest=True, lonlat=True)
    some = np.unique(np.r_[cells[::97], cells[np.argsort(np.abs(dec))[-12:]]])
    some = np.unique(np.r_[some, healpy.get_all_neighbours(32, some[:20], nest=True).ravel()])
    every = (some[some >= 0][:, None] * 1024 + np.arange(1024)).ravel()
    ra, dec = positions_in(every, np.random.default_rng(4))
    np.testing.assert_array_equal(healpy.ang2pix(1024, ra, dec, nest=True, lonlat=True), every)
    place = SkyCoord(ra * u.deg, dec * u.deg)
    assert place.match_to_catalog_sky(place, nthneighbor=2)[1].arcsec.min() >= 60
    brickid, _ = sky.bricks(ra, dec)
    number = sky.object_numbers(ra, dec)
    assert len({(b, o) for b, o in zip(brickid, number, strict=True)}) == len(every)
    ra, dec = healpy.pix2ang(32, cells[1400:], nest=True, lonlat=True)
    assert np.abs(SkyCoord(ra * u.deg, dec * u.deg).galactic.b.deg).min() > 19.9


def test_a_full_survey_has_a_cell_for_everyone():
    """Blocks from both ends of a survey as dense as any: no cell is given twice."""
    plan = Plan(1_200_000, 3)
    blocks = [draw_block(plan, number).sky for number in (0, 1, 2, plan.n_block - 2, plan.n_block - 1)]
    ra, dec = (np.concatenate([getattr(part, name) for part in blocks]) for name in ("ra", "dec"))
    cell = healpy.ang2pix(1024, ra, dec, nest=True, lonlat=True)
    assert len(np.unique(cell)) == len(cell)
    assert np.isin(healpy.ang2pix(32, ra, dec, nest=True, lonlat=True), footprint(plan.size)).all()


@pytest.mark.parametrize("length", [1, 2, 7, 1000, 4097])
def test_permutations(length):
    drawn = permuted(np.arange(length), length, 5)
    np.testing.assert_array_equal(np.sort(drawn), np.arange(length))
    if length > 100:
        assert np.abs(np.corrcoef(drawn, np.arange(length))[0, 1]) < 0.15
        assert not np.array_equal(drawn, permuted(np.arange(length), length, 6))


def test_an_overfull_sky_is_refused():
    with pytest.raises(GalbaseError, match="at most"):
        footprint(10_000_000)
    with pytest.raises(GalbaseError, match="at most"):
        Plan(10_000_000, 1)
    with pytest.raises(GalbaseError, match="name one of main, pretraining"):
        Plan(10, 1, sky="north")


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
