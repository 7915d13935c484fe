"""What the loop tests share: connected pairs, recording protocols, patience."""

import asyncio
import contextlib
import socket
import sys

import pytest

KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])


def pair(kind="tcp", buffer=None):
    """Two connected non-blocking stream sockets; `buffer` shrinks the kernel's buffers."""
    if kind == "unix":
        a, b = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            a = socket.create_connection(listener.getsockname())
            b, _ = listener.accept()
    for end in (a, b):
        end.setblocking(False)
        if buffer is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return a, b


class Recorder(asyncio.Protocol):
    """Writes down every call of its transport, in order; consecutive data is joined."""

    def __init__(self):
        self.calls = []
        self.data = bytearray()
        self.transport = None
        self.reason = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data):
        self.data += data
        if self.calls[-1] != "data":
            self.calls.append("data")

    def eof_received(self):
        self.calls.append("eof")

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.reason = exc
        if not self.lost.done():
            self.lost.set_result(exc)


class BufferedRecorder(asyncio.BufferedProtocol):
    """The same for a protocol that owns its buffer."""

    def __init__(self, size=4096):
        self.calls = []
        self.data = bytearray()
        self.hints = []
        self.buffer = bytearray(size)
        self.transport = None
        self.reason = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]
        if self.calls[-1] != "data":
            self.calls.append("data")

    def eof_received(self):
        self.calls.append("eof")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.reason = exc
        if not self.lost.done():
            self.lost.set_result(exc)


@contextlib.asynccontextmanager
async def wired(protocol, kind="tcp", *, accepted=False, buffer=None):
    """A transport of the running loop serving `protocol`, and the raw socket at its other end."""
    loop = asyncio.get_running_loop()
    ours, peer = pair(kind, buffer)
    with peer:
        if accepted:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        elif kind == "unix":
            transport, _ = await loop.create_unix_connection(lambda: protocol, sock=ours)
        else:
            transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        try:
            yield transport, peer
        finally:
            with contextlib.suppress(AttributeError):  # asyncio's, on a transport already lost
                transport.abort()
            await turns(2)


async def turns(count=1):
    """Let the loop make `count` turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    """Turn the loop until the condition holds; the test's time limit bounds it."""
    while not condition():
        await asyncio.sleep(0)


async def receive(peer, count):
    """Exactly `count` bytes from a raw non-blocking socket, or fewer at its end."""
    data = bytearray()
    while len(data) < count:
        try:
            chunk = peer.recv(min(count - len(data), 1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)
            continue
        if not chunk:
            break
        data += chunk
    return bytes(data)


async def receive_all(peer):
    """Everything a raw non-blocking socket has to say until its end."""
    return await receive(peer, sys.maxsize)


def fill(sock):
    """Write to a raw non-blocking socket until the kernel takes no more; returns the count."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += sock.send(bytes(65536))
    return total


def catch_reports(loop):
    """Collect what reaches the loop's exception handler instead of logging it."""
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    return reports
