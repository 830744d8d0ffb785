"""Sersic parameters of single galaxies: GaLNet trained on stamps, least squares, and both as a posterior."""
