"""python -m yula: run any Python program, unchanged, on yula.

    command.py   the command line: what to run, and with which options
    launch.py    starts the interpreter again on the program, with startup/ on its path
    startup/     runs in the program's process, and in its children, before the program
    rebind.py    makes asyncio's and uvloop's loops yula's, in that process
    report.py    says at exit which loops ran
    bench/       python -m yula bench: compares event loops

The program is run by the interpreter itself and not by us: argv, `__main__`, tracebacks, exit
codes, `-i`, stdin, folders and archives cannot differ from a direct run.
"""
