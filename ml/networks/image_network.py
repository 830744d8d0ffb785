"""Joins the maps of an image to a head: pooled, thinned by dropout, embedded, one output a property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions
from galbase.ml.networks.quantile_output import OrderedQuantiles

layers = keras.layers


def image_network(
    name: str,
    image: Any,
    maps: Any,
    options: ImageOptions,
    *,
    width: int,
    dropout: float = 0.0,
    dense_l2: float = 0.0,
) -> Network:
    """A network from the maps of its backbone.

    Parameters
    ----------
    name : str
        Name of the family.
    image : (n, size_px, size_px, n_band) tensor
        The input.
    maps : (n, height, width, n_feature) tensor
    options : ImageOptions
    width : int
        Width of the dense layer with ReLU before the outputs: the embedding.
    dropout : float
        Rate of the dropout on the pooled features.
    dense_l2 : float
        L2 penalty of the dense layer.
    """
    feature = layers.GlobalAveragePooling2D(name="pool")(maps)
    return feature_network(name, {"image": image}, feature, options, width=width, dropout=dropout, dense_l2=dense_l2)


def feature_network(
    name: str,
    inputs: Mapping[str, Any],
    feature: Any,
    options: ImageOptions,
    *,
    width: int | None,
    dropout: float = 0.0,
    dense_l2: float = 0.0,
    kept: Any = None,
) -> Network:
    """A network from the features of its backbone; other parameters as in `image_network`.

    Parameters
    ----------
    inputs : mapping of str to tensor
        What the backbone reads; scalars, where the options have them, are joined to the features.
    feature : (n, n_feature) tensor
    width : int or None
        As of `head_model`.
    kept : (n, n_kept) tensor, optional
        Outputs of another network, as of `raw_outputs`, which this network corrects; the last of its features.
    """
    n_kept = 0 if kept is None else int(kept.shape[-1])
    n_feature = int(feature.shape[-1]) + n_kept
    scalar = {"scalar": layers.Input((options.n_scalar,), name="scalar")} if options.n_scalar else {}
    head = head_model(
        n_feature, width, dense_l2, options.properties, options.n_scalar, options.n_level, options.scalar_width, n_kept
    )
    thinned = layers.Dropout(dropout, name="dropout")(feature)
    if kept is not None:
        thinned = layers.Concatenate(name="thinned_and_kept")([thinned, kept])
        feature = layers.Concatenate(name="feature_and_kept")([feature, kept])
    output, embedding = head({"feature": thinned, **scalar})
    return Network(
        training=keras.Model({**inputs, **scalar}, output, name=name),
        backbone=keras.Model(dict(inputs), feature, name="backbone"),
        head=head,
        n_feature=n_feature,
        embedding_dim=int(embedding.shape[-1]),
        dropout=dropout,
        input_shapes={key: tuple(value.shape[1:]) for key, value in {**inputs, **scalar}.items()},
        properties=options.properties,
        n_level=options.n_level,
        n_kept=n_kept,
    )


def head_model(
    n_feature: int, width: int | None, dense_l2: float, properties: Sequence[str], n_scalar: int = 0, n_level: int = 0,
    scalar_width: int = 0, n_kept: int = 0,
) -> Any:  # fmt: skip
    """Dense layer and the outputs of each property, on features that dropout has already thinned.

    Parameters
    ----------
    n_feature : int
        Width of input ``feature``.
    width : int or None
        Width of the dense layer with ReLU, the embedding; None for none: the features are the embedding.
    dense_l2 : float
        L2 penalty of that layer.
    properties : sequence of str
    n_scalar : int
        Width of input ``scalar``, joined to the features; 0 for none.
    n_level : int
        Quantiles of each property, ascending; 0 for one value.
    scalar_width : int
        Width of the two dense layers of the scalars; 0 for none.
    n_kept : int
        So many of the features, the last, are another network's `raw_outputs`. This head's are added to them and are 0
        at first, so that training begins at what the other network predicts.
    """
    feature = layers.Input((n_feature,), name="feature")
    inputs = {"feature": feature}
    joined = feature
    if n_scalar:
        inputs["scalar"] = layers.Input((n_scalar,), name="scalar")
        parts = [feature, inputs["scalar"]]
        if scalar_width:
            hidden = layers.Dense(scalar_width, activation="relu", name="scalar_hidden")(inputs["scalar"])
            parts.append(layers.Dense(scalar_width, activation="relu", name="scalar_feature")(hidden))
        joined = layers.Concatenate(name="join")(parts)
    embedding = joined
    if width is not None:
        penalty = keras.regularizers.L2(dense_l2) if dense_l2 else None
        embedding = layers.Dense(width, activation="relu", kernel_regularizer=penalty, name="embedding")(joined)
    n_raw = max(1, n_level)
    raw = [
        layers.Dense(n_raw, name=name, kernel_initializer="zeros" if n_kept else "glorot_uniform")(embedding)
        for name in properties
    ]
    if n_kept:
        start = n_feature - n_kept
        raw = [
            layers.Add(name=f"{name}_corrected")([each, feature[:, start + k * n_raw : start + (k + 1) * n_raw]])
            for k, (name, each) in enumerate(zip(properties, raw, strict=True))
        ]
    if not n_level:
        merged = layers.Concatenate(name="property")(raw) if len(raw) > 1 else raw[0]
        return keras.Model(inputs, [merged, embedding], name="head")
    rows = [
        layers.Reshape((1, n_level), name=f"{name}_row")(OrderedQuantiles(name=f"{name}_quantile")(each))
        for name, each in zip(properties, raw, strict=True)
    ]
    merged = layers.Concatenate(axis=1, name="property")(rows) if len(rows) > 1 else rows[0]
    return keras.Model(inputs, [merged, embedding], name="head")


def raw_outputs(network: Network) -> Any:
    """What the outputs of a network's head are made of, a tensor ``(n, n_property * max(1, n_level))`` upon its inputs.

    Of quantiles: the numbers that `OrderedQuantiles` puts in order.
    """
    raw = [network.head.get_layer(name).output for name in network.properties]
    return layers.Concatenate(name="raw_output")(raw) if len(raw) > 1 else raw[0]


def scaled(image: Any, options: ImageOptions) -> Any:
    """The image with values of order one."""
    return layers.Rescaling(1.0 / 255.0 if options.pixel_range == "uint8" else 1.0, name="scale")(image)
