"""asyncpg on a chosen loop; operations_for.py has the arguments."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

import asyncpg
from operations_for import Operation, expect, main

ROWS = 1000


async def connected(options: argparse.Namespace) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1", port=options.port, user="yula", database="yula", ssl=False
    )


@contextlib.asynccontextmanager
async def query(options: argparse.Namespace) -> AsyncIterator[Operation]:
    """One row of one column."""
    connection = await connected(options)

    async def operation(number: int) -> None:
        expect(await connection.fetchval("SELECT $1::int + 1", number), number + 1)

    yield operation
    await connection.close()


@contextlib.asynccontextmanager
async def rows(options: argparse.Namespace) -> AsyncIterator[Operation]:
    """A thousand rows of a number and a text."""
    connection = await connected(options)
    sql = "SELECT n, repeat('x', 20) FROM generate_series($1::int + 1, $1::int + $2::int) n"

    async def operation(number: int) -> None:
        found = await connection.fetch(sql, number, ROWS)
        expect((len(found), found[-1][0]), (ROWS, number + ROWS))

    yield operation
    await connection.close()


if __name__ == "__main__":
    main({"query": query, "rows": rows})
