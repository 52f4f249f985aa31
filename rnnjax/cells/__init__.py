"""Cells, one family per file, each readable beside its paper."""
