"""aiohttp's client on a chosen loop; operations_for.py has the arguments."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
from operations_for import Operation, expect, main
from web_responder import BODIES


@contextlib.asynccontextmanager
async def get(path: str, options: argparse.Namespace) -> AsyncIterator[Operation]:
    """GET on a kept-alive connection, the answer read."""
    url = f"http://127.0.0.1:{options.port}{path}"
    async with aiohttp.ClientSession() as session:

        async def operation(number: int) -> None:
            async with session.get(url) as response:
                expect((response.status, await response.read()), (200, BODIES[path]))

        yield operation


if __name__ == "__main__":
    main({"get": partial(get, "/"), "get-10k": partial(get, "/10k")})
