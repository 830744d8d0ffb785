"""Aggregates that a map makes of the values in a cell."""

from __future__ import annotations

from enum import StrEnum


class Aggregate(StrEnum):
    """What becomes of the values of a column in one cell."""

    MEAN = "mean"
    MEDIAN = "median"
    COUNT = "count"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
