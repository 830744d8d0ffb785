"""Alembic migrations of schema `archive`."""
