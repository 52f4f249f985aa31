"""Cells made of cells, and layers between them."""
