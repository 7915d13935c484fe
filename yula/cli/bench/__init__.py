"""python -m yula bench: compares the event loops that are installed, on this machine.

    command.py    the command line, shared with bench/suite.py
    case.py       what a workload is, and the settings it is measured with
    workloads/    one file for each kind of workload
    programs/     what runs in a process of its own: servers on a chosen loop, the load client
    rounds.py     runs a case on every loop, alternated
    results.py    medians, ratios, what is void; the saved JSON
    page.py       the HTML page, chart.py its charts
    machine.py child.py stats.py report.py    machine, processes, statistics, terminal

This package is used twice: by `python -m yula bench`, and as the ground of the benchmarks in the
source tree, where bench/harness/__init__.py puts this folder on its path. So it imports its own
files relatively and never yula: the interpreter that measures need not be the one measured, and a
process that runs another loop never loads yula's.
"""
