"""A trained GaLNet as plain files: weights and domain as safetensors, everything else as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from galbase.ml.domain import Domain
from galbase.ml.networks.build import build
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.measure import GalnetCalibration
from galbase.ml.sersic.training import TrainedGalnet
from galbase.ml.weights import fill_weights, weights_to_bytes
from galbase.schema.errors import GalbaseError, UsageError

WEIGHTS, DOMAIN, DESCRIPTION = "weights.safetensors", "domain.safetensors", "galnet.json"


def check_new(folder: Path) -> None:
    """Refuse to write a model over another.

    Raises
    ------
    UsageError
        If the folder holds one.
    """
    if (folder / DESCRIPTION).exists():
        raise UsageError(f"{folder} holds a model already; name another folder.")


def save_galnet(
    folder: Path, trained: TrainedGalnet, calibration: GalnetCalibration, domain: Domain | None = None
) -> None:
    """Write a model; the description last, so that a folder with one is whole.

    Without a domain it can measure, and cannot become a model of an archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if domain is not None:
        save_file({"reference": domain.reference, "threshold": np.array([domain.threshold])}, folder / DOMAIN)
    (folder / WEIGHTS).write_bytes(weights_to_bytes(trained.network))
    record = {
        "mode": trained.mode,
        "preset": trained.preset,
        "options": trained.options,
        "scaler": trained.scaler.to_mapping(),
        "metrics": trained.metrics,
        "calibration": calibration.to_mapping(),
    }
    (folder / DESCRIPTION).write_text(json.dumps(record, indent=1) + "\n")


def load_galnet(folder: Path) -> tuple[TrainedGalnet, GalnetCalibration]:
    """Read a model that `save_galnet` wrote.

    Raises
    ------
    GalbaseError
        If the folder holds none, its weights are another network's, or an earlier version of galbase calibrated it.
    """
    record = _description(folder)
    calibration = GalnetCalibration.from_mapping(record["calibration"], f"the GaLNet in {folder}")
    return _network(folder, record), calibration


def load_network(folder: Path) -> TrainedGalnet:
    """Read a model that `save_galnet` wrote, whatever calibrated it.

    Raises
    ------
    GalbaseError
        If the folder holds none or its weights are another network's.
    """
    return _network(folder, _description(folder))


def _description(folder: Path) -> dict[str, Any]:
    if not (folder / DESCRIPTION).is_file() or not (folder / WEIGHTS).is_file():
        raise GalbaseError(f"{folder} holds no trained GaLNet: {DESCRIPTION} and {WEIGHTS} are needed.")
    return dict(json.loads((folder / DESCRIPTION).read_text()))


def _network(folder: Path, record: dict[str, Any]) -> TrainedGalnet:
    network = build("galnet", record["preset"], record["options"])
    fill_weights(network, (folder / WEIGHTS).read_bytes())
    scaler = LabelScaler.from_mapping(record["scaler"])
    return TrainedGalnet(network, scaler, record["mode"], record["preset"], record["options"], record["metrics"])


def load_domain(folder: Path) -> Domain:
    """Read the domain of a model that `save_galnet` wrote.

    Raises
    ------
    GalbaseError
        If the folder holds none.
    """
    if not (folder / DOMAIN).is_file():
        raise GalbaseError(f"{folder} holds no {DOMAIN}: the model was trained without; train it with this version.")
    arrays = load_file(folder / DOMAIN)
    return Domain(arrays["reference"], float(arrays["threshold"][0]))
