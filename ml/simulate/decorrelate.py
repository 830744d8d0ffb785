"""The null test: galaxies keep their light and their properties, and get the morphology of a look-alike.

The look-alike is chosen by total magnitude and colours alone, at any redshift. Given these, the structure of a galaxy
and its properties are therefore independent, whatever they were before: what a network gains from images over the
catalogue's photometry on such a survey, it gains by mistake. Labels and spectra are those that the galaxy had with its
own structure (fibre quantities included); images and the catalogue's shapes show the other's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from galbase.ml.simulate.filters import LEGACY
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.structure import Structure

# magnitudes count less than colours: a size changes by 0.2 dex a magnitude, a Sersic index over 0.3 mag of colour
_SCALES = np.array([0.35, 0.06, 0.06])
_N_LOOK_ALIKE = 5


def exchanged(structure: Structure, population: Population, seed: int, block: int) -> Structure:
    """Give every galaxy the structure of one of the five nearest others in r, g-r and r-z.

    Parameters
    ----------
    structure, population
        The galaxies of one block, more than one.
    seed, block : int
        Seed, and number of the block.
    """
    n = len(population)
    if n < 2:
        return structure
    rng = np.random.default_rng([seed, 16, block])
    donor = look_alikes(population.flux.sum(axis=1)[:, LEGACY], rng)
    return structure.of(donor, population.z)


def look_alikes(flux: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Row of another galaxy with nearly the same g, r, z fluxes: (n,) for flux (n, 3)."""
    mag = -2.5 * np.log10(flux)
    place = np.column_stack([mag[:, 1], mag[:, 0] - mag[:, 1], mag[:, 1] - mag[:, 2]]) / _SCALES
    count = min(_N_LOOK_ALIKE, len(flux) - 1)
    _, near = cKDTree(place).query(place, k=count + 1)
    # the first column is the galaxy itself, but for exact twins
    own = near == np.arange(len(flux))[:, None]
    own[~own.any(axis=1), -1] = True
    others = near[~own].reshape(len(flux), count)
    chosen: NDArray[np.int64] = others[np.arange(len(flux)), rng.integers(count, size=len(flux))]
    return chosen
