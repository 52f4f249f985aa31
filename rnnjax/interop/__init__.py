"""Exact weights from and to other libraries: one file for each, imported when it is used.

Every ``from_*`` gives ``(cell, params)``, every ``to_*`` takes them. Kernels pass bit for bit; what a library cannot
hold exactly is refused with the reason.
"""
