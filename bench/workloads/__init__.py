"""The workloads that need more than Python: servers of PyPI under wrk, clients of real services.

Those that need nothing else are the package's: yula/cli/bench/workloads.
"""
