"""What every network family gives to training and inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network cut where its Monte Carlo dropout acts.

    `backbone` is deterministic at inference, `head` is cheap, and dropout stands between them: ten passes of MC
    dropout (Gal & Ghahramani 2016, ICML 48, 1050) cost one pass of the backbone, and inference may draw its masks
    itself. All three models share the same variables.

    Parameters
    ----------
    training : keras.Model
        ``{input name: array}`` to ``(n, n_property)``, dropout included; the model that is fitted.
    backbone : keras.Model
        ``{input name: array}`` to features ``(n, n_feature)``, before dropout.
    head : keras.Model
        ``{"feature": (n, n_feature)}``, and the scalar input where the network has one, to
        ``[property (n, n_property), embedding (n, embedding_dim)]``.
    n_feature, embedding_dim : int
        Widths of the features and of the embedding (the penultimate features).
    dropout : float
        Rate of the dropout on the features.
    input_shapes : dict of str to tuple of int
        Shape of one row of each input.
    properties : tuple of str
        Names of the outputs, in order.
    n_level : int
        Quantiles of each property that training and head give as ``(n, n_property, n_level)``; 0 where they give one
        value each.
    n_kept : int
        So many of the features, the last, are outputs of another network, which dropout leaves as they are.
    """

    training: Any
    backbone: Any
    head: Any
    n_feature: int
    embedding_dim: int
    dropout: float
    input_shapes: dict[str, tuple[int, ...]]
    properties: tuple[str, ...]
    n_level: int = 0
    n_kept: int = 0

    @property
    def head_inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs that the head reads beside the features."""
        return tuple(name for name in self.input_shapes if name in self.head.input)

    @property
    def backbone_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that the backbone reads."""
        return tuple(name for name in self.input_shapes if name in self.backbone.input)

    @property
    def n_parameter(self) -> int:
        """Number of weights, those that are not trained included."""
        return int(self.training.count_params())
