"""A pytest plugin (`-p on_yula`): every loop that asyncio makes is yula's."""

import asyncio

import pytest

import yula


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:yula.install:DeprecationWarning")
    if hasattr(yula, "install"):
        yula.install()
    if not isinstance(loop := asyncio.new_event_loop(), yula.Loop):
        raise pytest.UsageError(f"the tests would run on {loop!r}")
    loop.close()
