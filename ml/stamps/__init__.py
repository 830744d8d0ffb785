"""Single-Sersic stamps with their PSFs and known truth, for training and testing GaLNet."""
