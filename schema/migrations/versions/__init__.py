"""Migrations in order; each with a folder of its SQL where that is long."""
