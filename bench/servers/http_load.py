"""A client that sends an exact number of HTTP requests, for servers under valgrind.

    python http_load.py --port 8000 --path / --connections 64 --requests 2000

Each connection sends its next request when it has its answer; every body is compared with the
first. Prints "warm" when each connection has had an answer, and "done" after the requests; after
each it waits for a line.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import sys


class Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def take_answer(self) -> bytes | None:
        """Receive once. The body, when the answer is complete."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the server closed a connection")
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < length_of(head):
            return None
        if not head.startswith(b"HTTP/1.1 200 ") or len(body) > length_of(head):
            raise SystemExit(f"wrong answer: {self.received[:200]!r}")
        self.received = b""
        return body


def length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise SystemExit(f"an answer without a length: {head!r}")


def exchange(selector: selectors.BaseSelector, connections: list[Connection], request: bytes,
             count: int, wanted: bytes | None) -> bytes | None:  # fmt: skip
    """Send so many requests over all connections, and have their answers."""
    unsent, unanswered = count, count
    for each in connections[:count]:
        each.socket.sendall(request)
        unsent -= 1
    while unanswered > 0:
        for key, _ in selector.select():
            body = key.data.take_answer()
            if body is None:
                continue
            if wanted is not None and body != wanted:
                raise SystemExit(f"a wrong body: {body[:200]!r}")
            wanted = body
            unanswered -= 1
            if unsent > 0:
                key.data.socket.sendall(request)
                unsent -= 1
    return wanted


def say(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--body-len", type=int, help="POST so many bytes")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, required=True)
    options = parser.parse_args()
    request = f"GET {options.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    if options.body_len is not None:
        head = f"POST {options.path} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Length: {options.body_len}\r\n\r\n"
        request = head.encode() + b"x" * options.body_len
    connections = [Connection(options.port) for _ in range(options.connections)]
    selector = selectors.DefaultSelector()
    for each in connections:
        selector.register(each.socket, selectors.EVENT_READ, each)
    wanted = exchange(selector, connections, request, 4 * len(connections), None)
    say("warm")
    exchange(selector, connections, request, options.requests, wanted)
    say("done")


if __name__ == "__main__":
    main()
