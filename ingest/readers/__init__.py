"""Readers: one file a survey or format."""
