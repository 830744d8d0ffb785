"""Bytes to rows: readers of survey files, crossmatch, and preprocessing."""
