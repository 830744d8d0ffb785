"""The simulated survey: galaxies with known truth, written in the formats of the real surveys."""
