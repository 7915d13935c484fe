"""What the tests of process and interpreter pools share: how their programs are made and run.

Each test is a program, because worker processes, the fork server and the resource tracker outlive a
pool, and because an interpreter does not inherit what the test runner did to sys.path. Its jobs are in
pool_jobs.py, which workers import by name.
"""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Since 3.12 Python warns of a fork while threads run; pools of processes run threads.
FORK_OPTIONS = ("-W", "error", "-W", "ignore::DeprecationWarning")

PROCESSES = """
import multiprocessing
from concurrent.futures.process import BrokenProcessPool

def pool(workers=1, **options):
    context = multiprocessing.get_context(METHOD)
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, **options)
"""

INTERPRETERS = """
from concurrent.futures.interpreter import BrokenInterpreterPool
from concurrent import interpreters

def pool(workers=1, **options):
    return concurrent.futures.InterpreterPoolExecutor(workers, **options)
"""

PROGRAM = """
import concurrent.futures, os, sys, threading
import pool_jobs

def call(executor, function, *args):
    return asyncio.get_running_loop().run_in_executor(executor, function, *args)

async def started(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.005)

def let_go(fifo, text=""):
    with open(fifo, "w") as stream:
        stream.write(text)
"""

needs_interpreters = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="InterpreterPoolExecutor came with Python 3.14"
)


def run_with_pools(python_program, loop_name, kind, text, *args):
    """Run the program with pools of that kind on the test's loop; return what it printed.

    kind is "interpreters", or the way in which worker processes are started.
    """
    processes = kind != "interpreters"
    pools = f"METHOD = {kind!r}\n{PROCESSES}" if processes else INTERPRETERS
    finished = python_program(
        f"LOOP = {loop_name!r}\n{PROGRAM}\n{pools}\n{text}",
        *args,
        env={"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
        **({"options": FORK_OPTIONS} if processes else {}),
    )
    assert (finished.err, finished.code) == ("", 0), (finished.err, finished.code)
    return finished.out
