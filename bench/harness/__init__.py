"""What the benchmarks share: machine, processes, statistics, terminal report."""
