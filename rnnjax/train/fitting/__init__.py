"""The parts of ``fit``."""
