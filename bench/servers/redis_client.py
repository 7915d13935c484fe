"""redis-py on a chosen loop; operations_for.py has the arguments."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

import redis.asyncio
from operations_for import Operation, expect, main

VALUE = b"v" * 100
COMMANDS = 100


@contextlib.asynccontextmanager
async def get(options: argparse.Namespace) -> AsyncIterator[Operation]:
    """GET of 100 bytes."""
    async with redis.asyncio.Redis(port=options.port, single_connection_client=True) as client:
        await client.set("key", VALUE)

        async def operation(number: int) -> None:
            expect(await client.get("key"), VALUE)

        yield operation


@contextlib.asynccontextmanager
async def pipeline(options: argparse.Namespace) -> AsyncIterator[Operation]:
    """A hundred GETs in one pipeline."""
    async with redis.asyncio.Redis(port=options.port, single_connection_client=True) as client:
        await client.set("key", VALUE)

        async def operation(number: int) -> None:
            commands = client.pipeline(transaction=False)
            for _ in range(COMMANDS):
                commands.get("key")
            expect(await commands.execute(), [VALUE] * COMMANDS)

        yield operation


if __name__ == "__main__":
    main({"get": get, "pipeline": pipeline})
