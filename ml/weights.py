"""Weights of networks as bytes: safetensors, a format that holds arrays and nothing else.

A freshly built network's variables are filled one by one; no deserialiser of Keras ever sees a stored byte.
"""

from __future__ import annotations

import numpy as np

from galbase.ml.networks.network import Network
from galbase.schema.errors import GalbaseError


def weights_to_bytes(network: Network) -> bytes:
    """All variables of a network, those that are not trained included, as safetensors in their fixed order.

    Paths of variables are left out: Keras numbers layers without a name through all networks of a process.
    """
    from safetensors.numpy import save

    return bytes(
        save(
            {
                f"{index:05d}/{variable.name}": np.array(variable.numpy(), order="C")
                for index, variable in enumerate(network.training.weights)
            }
        )
    )


def fill_weights(network: Network, data: bytes) -> None:
    """Fill a freshly built network.

    The variables are matched by their order and checked by name, shape and type: Keras numbers the names of layers
    that have none, so that paths are not stable between two builds in one process.

    Raises
    ------
    GalbaseError
        If the arrays are not those of this network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise GalbaseError(f"the weights are not in safetensors format: {error}. Train the model again.") from error
    wanted = dict(enumerate(network.training.weights))
    found = {int(key.partition("/")[0]): (key.partition("/")[2], array) for key, array in arrays.items()}
    if set(found) != set(wanted):
        raise GalbaseError(f"the weights hold {len(found)} arrays, the network needs {len(wanted)}; train it again.")
    for index, variable in wanted.items():
        path, array = found[index]
        if path.rpartition("/")[2] != variable.name or array.shape != tuple(variable.shape):
            raise GalbaseError(
                f"array {index} of the weights is {path} {array.shape}, the network's is {variable.path} "
                f"{tuple(variable.shape)}; the network's code has changed since: train the model again."
            )
    for index, variable in wanted.items():
        variable.assign(found[index][1])
