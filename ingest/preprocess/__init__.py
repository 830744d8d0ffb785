"""Preprocessing of galaxy images: pure functions on arrays, no database and no Dask."""
