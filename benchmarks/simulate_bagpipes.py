"""Colours and mass-to-light ratios of the simulated survey's stars against BAGPIPES; one JSON line a history.

BAGPIPES (Carnall et al. 2018) has the 2016 revision of the Bruzual & Charlot populations with MILES spectra, at
many ages, and its own dust and integration; ours are 10 ages of the 2003 ones. Needs the extra `bagpipes`:
`pip install 'galbase[bagpipes]'`.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from galbase.ml.simulate.filters import FILTERS, load_filters
from galbase.ml.simulate.population import ssp_weights
from galbase.ml.simulate.sed import stellar_fluxes
from galbase.ml.simulate.ssp import ssp_grid

# name, kind, parameters [Gyr], Z over solar
HISTORIES = (
    ("burst 10 Gyr", "burst", {"age": 10.0}, 1.0),
    ("burst 5 Gyr, metal-poor", "burst", {"age": 5.0}, 0.4),
    ("burst 2.5 Gyr", "burst", {"age": 2.5}, 1.0),
    ("burst 0.9 Gyr", "burst", {"age": 0.904}, 1.0),
    ("exponential, tau 1, from 11 Gyr", "exponential", {"age": 11.0, "tau": 1.0}, 1.0),
    ("exponential, tau 3, from 10 Gyr", "exponential", {"age": 10.0, "tau": 3.0}, 1.0),
    ("exponential, tau 8, from 8 Gyr, metal-poor", "exponential", {"age": 8.0, "tau": 8.0}, 0.4),
    ("constant over 1 Gyr, metal-poor", "constant", {"age_min": 0.0, "age_max": 1.0}, 0.4),
)
LOG_FORMED, SOLAR_IN_BAGPIPES = 10.0, 0.02


def formed(kind: str, values: dict[str, float]) -> np.ndarray:
    """Mass formed by age of our grid, per solar mass: the history's integral over each age's share of time."""
    grid = ssp_grid()
    edges = np.concatenate([[0.0], grid.age_edges_yr, [20e9]]) / 1e9
    if kind == "burst":
        place = np.interp(np.log(values["age"]), np.log(grid.age_yr / 1e9), np.arange(len(grid.age_yr)))
        return np.clip(1 - np.abs(place - np.arange(len(grid.age_yr))), 0, 1)
    if kind == "constant":
        inside = np.clip(edges, values["age_min"], values["age_max"])
        return np.diff(inside) / (values["age_max"] - values["age_min"])
    since = np.clip(values["age"] - edges, 0, None)
    total = 1 - np.exp(-since / values["tau"])
    return -np.diff(total) / (1 - np.exp(-values["age"] / values["tau"]))


def compare() -> None:
    """Print a line a history, redshift and attenuation."""
    import bagpipes

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in FILTERS:
            band = load_filters()[name]
            paths.append(str(Path(folder) / f"{name}.txt"))
            np.savetxt(paths[-1], np.column_stack([band.wave, band.response]))
        for name, kind, values, metal in HISTORIES:
            for z, a_v in ((0.05, 0.0), (0.15, 0.6)):
                part = {**values, "massformed": LOG_FORMED, "metallicity": metal}
                components = {"redshift": z, kind: part, "dust": {"type": "Calzetti", "Av": a_v}}
                model = bagpipes.model_galaxy(components, filt_list=paths, phot_units="mujy")
                # 1 nanomaggy is 3.631 microjansky
                theirs = np.asarray(model.photometry) / 3.6307805
                mh = np.array([np.log10(metal * SOLAR_IN_BAGPIPES / 0.02)])
                weights = ssp_weights(10**LOG_FORMED * formed(kind, values)[None], mh)
                ours = stellar_fluxes(weights, np.array([z]), np.array([a_v]), slice(0, 6))[0]
                magnitude = -2.5 * np.log10(ours / theirs)
                line = {
                    "case": f"against BAGPIPES: {name}, z {z}, A_V {a_v}",
                    "delta_r_mag": round(float(magnitude[4]), 3),
                    "delta_g_r": round(float(magnitude[3] - magnitude[4]), 3),
                    "delta_r_i": round(float(magnitude[4] - magnitude[5]), 3),
                    "delta_r_z_decam": round(float(magnitude[1] - magnitude[2]), 3),
                }
                sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    if importlib.util.find_spec("bagpipes"):
        compare()
    else:
        sys.stdout.write(json.dumps({"case": "against BAGPIPES", "skipped": "bagpipes is not installed"}) + "\n")
