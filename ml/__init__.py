"""Rows to knowledge: simulation, networks, training, inference, calibration, refresh."""
