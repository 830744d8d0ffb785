"""Labels from spectra: ages and metallicities by full-spectrum fitting."""
