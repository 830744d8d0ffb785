"""A block of galaxies: the unit in which a survey is drawn, with seeds of its own, so that memory stays bounded."""

from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.decorrelate import exchanged
from galbase.ml.simulate.fibre import FibreTruth, fibre_truth
from galbase.ml.simulate.footprint import footprint
from galbase.ml.simulate.labels import (
    FIBRES_PER_PLATE,
    PLATES_PER_BLOCK,
    Targeting,
    draw_signal_to_noise,
    draw_targeting,
    mpa_jhu_table,
)
from galbase.ml.simulate.parameters import REFERENCES, SIMULATION_VERSION, SurveyParameters
from galbase.ml.simulate.photometry import legacy_columns
from galbase.ml.simulate.population import Population, draw_population
from galbase.ml.simulate.scene import Blend, draw_blends
from galbase.ml.simulate.sky import Sky, draw_sky
from galbase.ml.simulate.stellarpop import stellarpop_table
from galbase.ml.simulate.structure import Structure, draw_structure
from galbase.ml.simulate.truth import truth_columns
from galbase.schema.errors import GalbaseError

# what the plates of a block can hold, so that plates never cross blocks
BLOCK_ROWS = PLATES_PER_BLOCK * FIBRES_PER_PLATE
SURVEYS = ("legacy", "sdss")


@dataclass(frozen=True)
class Plan:
    """What determines a simulated survey, byte for byte.

    Attributes
    ----------
    size, seed : int
        Number of galaxies, seed.
    n_spectra : int
        Spectrum files wanted; at most one for every galaxy with a fibre.
    surveys : tuple of str
        Whose images: 'legacy' (grz), 'sdss' (gri).
    decorrelated : bool
        Whether structure is exchanged between look-alikes (see `decorrelate`).
    sky : str
        Which end of the sky is filled, one of `footprint.SKIES`.
    parameters : SurveyParameters
        Physics and observing conditions.
    """

    size: int
    seed: int
    n_spectra: int = 50
    surveys: tuple[str, ...] = ("legacy",)
    decorrelated: bool = False
    sky: str = "main"
    parameters: SurveyParameters = field(default_factory=SurveyParameters)

    def __post_init__(self) -> None:
        if self.size < 1 or self.seed < 0 or self.n_spectra < 0:
            raise GalbaseError(
                f"size {self.size}, seed {self.seed} and {self.n_spectra} spectra: ask for at least one galaxy, a seed "
                "and a number of spectra that are not negative."
            )
        if not self.surveys or set(self.surveys) - set(SURVEYS) or len(set(self.surveys)) < len(self.surveys):
            raise GalbaseError(
                f"surveys {', '.join(self.surveys) or 'none'}: name one or both of {', '.join(SURVEYS)}."
            )
        footprint(self.size, self.sky)

    @property
    def n_block(self) -> int:
        """Number of blocks."""
        return -(-self.size // BLOCK_ROWS)

    def rows(self, block: int) -> range:
        """Rows of a block in the survey."""
        return range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, self.size))

    def spectra_of(self, block: int) -> int:
        """Spectra wanted of a block, in proportion to its rows."""
        rows = self.rows(block)
        return self.n_spectra * rows.stop // self.size - self.n_spectra * rows.start // self.size

    def record(self) -> dict[str, object]:
        """What `simulation.json` says of the plan."""
        return {
            "version": SIMULATION_VERSION,
            "size": self.size,
            "seed": self.seed,
            "n_spectra": self.n_spectra,
            "surveys": list(self.surveys),
            "decorrelated": self.decorrelated,
            "sky": self.sky,
            "parameters": asdict(self.parameters),
            "references": REFERENCES,
        }


@dataclass(frozen=True, eq=False)
class Block:
    """Everything of a block but pixels; rows count within the block.

    Attributes
    ----------
    first : int
        Row of the first galaxy in the survey.
    population, structure, fibre, sky, blend, targeting
        The truth; `structure` is what the images show, `fibre` what the spectra saw.
    signal_to_noise : (n,) float64
        Of the spectrum, had everyone one.
    """

    first: int
    population: Population
    structure: Structure
    fibre: FibreTruth
    sky: Sky
    blend: Blend
    targeting: Targeting
    signal_to_noise: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.population)


@dataclass(frozen=True, eq=False)
class BlockTables:
    """Catalogue columns of a block: (n,) arrays, or (n_labelled,) for `labels` and `stellarpop`."""

    legacy: dict[str, NDArray[np.generic]]
    truth: dict[str, NDArray[np.generic]]
    labels: dict[str, NDArray[np.generic]]
    stellarpop: dict[str, NDArray[np.generic]]


def draw_block(plan: Plan, number: int) -> Block:
    """Draw a block of the survey: the same whatever other blocks are drawn."""
    rows, seed, parameters = plan.rows(number), plan.seed, plan.parameters
    population = draw_population(len(rows), seed, parameters, number)
    structure = draw_structure(population, seed, number)
    sky = draw_sky(footprint(plan.size, plan.sky), rows.start, BLOCK_ROWS, seed, population.log_density, parameters)
    fibre = fibre_truth(population, structure, parameters)
    if plan.decorrelated:
        structure = exchanged(structure, population, seed, number)
    return Block(
        rows.start, population, structure, fibre, sky, draw_blends(sky, seed, number, parameters),
        draw_targeting(sky, seed, number, parameters), draw_signal_to_noise(fibre, sky, seed, number),
    )  # fmt: skip


def tabulate(plan: Plan, block: Block) -> BlockTables:
    """The catalogues of a block."""
    number, seed, parameters = block.first // BLOCK_ROWS, plan.seed, plan.parameters
    b = block
    return BlockTables(
        legacy_columns(
            b.population, b.structure, b.sky, b.blend, b.targeting.observed, seed, number, parameters
        ),
        truth_columns(
            b.population, b.structure, b.fibre, b.sky, b.blend, b.targeting, b.signal_to_noise, b.first
        ),
        mpa_jhu_table(b.population, b.fibre, b.targeting, b.sky, b.signal_to_noise, seed, number, parameters),
        stellarpop_table(b.fibre, b.targeting, b.signal_to_noise, seed, number, parameters),
    )  # fmt: skip
