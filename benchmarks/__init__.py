"""Benchmarks of rnnjax against its peers: ``python -m benchmarks --help``, ``make bench``, ``make bench-all``."""
