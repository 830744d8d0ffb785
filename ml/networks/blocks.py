"""Building blocks that several networks share."""

from __future__ import annotations

import math
from typing import Any

from galbase.ml.backend import keras

layers = keras.layers


def convolution(maps: Any, width: int, kernel: int, stride: int, name: str) -> Any:
    """Convolution without bias, and batch normalisation.

    Momentum 0.9: with the few hundred steps of a small training set Keras' 0.99 leaves the moving averages behind.
    """
    maps = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(maps)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(maps)


def residual_block(maps: Any, width: int, stride: int, name: str) -> Any:
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, Fig. 2)."""
    shortcut = maps
    if stride != 1 or maps.shape[-1] != width:
        shortcut = convolution(maps, width, 1, stride, f"{name}_shortcut")
    inner = convolution(maps, width, 3, stride, f"{name}_first")
    inner = layers.Activation("relu", name=f"{name}_inner_relu")(inner)
    inner = convolution(inner, width, 3, 1, f"{name}_second")
    joined = layers.Add(name=f"{name}_add")([inner, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(joined)


def eca_kernel(n_channel: int, gamma: float = 2.0, offset: float = 1.0) -> int:
    """Size of the kernel of efficient channel attention: the odd number at or above (log2 C + b) / gamma, cut.

    Wang et al. 2020, CVPR, 11531, eq. 12; the authors' code cuts to an integer and adds 1 to an even one.
    """
    size = int(abs((math.log2(n_channel) + offset) / gamma))
    return size if size % 2 else size + 1


def channel_attention(maps: Any, name: str, kernel: int | None = None) -> Any:
    """Efficient channel attention (ECA): channels weighted by a convolution over their means.

    Parameters
    ----------
    maps : (n, height, width, channel) tensor
    name : str
    kernel : int, optional
        Channels a weight looks at; by `eca_kernel` when None.
    """
    n_channel = int(maps.shape[-1])
    size = eca_kernel(n_channel) if kernel is None else kernel
    weight = layers.GlobalAveragePooling2D(name=f"{name}_mean")(maps)
    weight = layers.Reshape((n_channel, 1), name=f"{name}_row")(weight)
    weight = layers.Conv1D(1, size, padding="same", use_bias=False, activation="sigmoid", name=f"{name}_conv")(weight)
    weight = layers.Reshape((1, 1, n_channel), name=f"{name}_weight")(weight)
    return layers.Multiply(name=f"{name}_scale")([maps, weight])


class DropBlock(keras.layers.Layer):  # type: ignore[misc]
    """Drops squares of a map while training (Ghiasi, Lin & Le 2018, NeurIPS 31, algorithm 1), a channel by itself.

    Parameters
    ----------
    rate : float
        Share of the map that is dropped, 1 - keep_prob.
    block_size : int
        Side of a square; smaller on a map that is smaller.
    """

    def __init__(self, rate: float, block_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.block_size = rate, block_size
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, maps: Any, training: bool = False) -> Any:
        """Maps of the same shape; all of them when not training."""
        if not training or self.rate == 0:
            return maps
        ops = keras.ops
        height, width = int(maps.shape[1]), int(maps.shape[2])
        side = min(self.block_size, height, width)
        # centres whose squares lie within the map
        room = (height - side + 1) * (width - side + 1)
        chance = self.rate * height * width / (side * side * room)
        shape = (ops.shape(maps)[0], height - side + 1, width - side + 1, maps.shape[-1])
        seeds = ops.cast(keras.random.uniform(shape, seed=self.seed_generator) < chance, maps.dtype)
        before, after = side - 1, side - 1
        padded = ops.pad(seeds, [[0, 0], [before, after], [before, after], [0, 0]])
        kept = 1 - ops.max_pool(padded, side, strides=1, padding="valid")
        share = ops.mean(kept)
        return maps * kept / ops.maximum(share, 1e-6)
