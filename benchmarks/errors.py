"""The one error that a user of the benchmarks meets."""


class BenchmarkError(Exception):
    """Something to tell the user in one line; the command ends with it and without a traceback."""
