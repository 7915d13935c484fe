"""Servers: serving, closing, waiting, and accepting under pressure."""

import asyncio
import socket
import sys

import pytest
from peers import Recorder, catch_reports, turns, until


class Clients:
    """A protocol factory that remembers what it made."""

    def __init__(self):
        self.made = []

    def __call__(self):
        self.made.append(Recorder())
        return self.made[-1]

    async def count(self, count):
        await until(lambda: sum(1 for p in self.made if p.transport) == count)

    async def all_lost(self):
        for protocol in self.made:
            protocol.transport.abort()
        await asyncio.gather(*(protocol.lost for protocol in self.made))


def connect(server, count=1):
    address = server.sockets[0].getsockname()
    return [socket.create_connection(address) for _ in range(count)]


def close_all(sockets):
    for sock in sockets:
        sock.close()


def test_a_server_serves_at_once_unless_told_otherwise(loop):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        assert server.is_serving()
        peers = connect(server)
        await clients.count(1)
        close_all(peers)
        await clients.all_lost()
        server.close()
        await server.wait_closed()

        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        with socket.socket() as early:
            early.setblocking(False)
            with pytest.raises((ConnectionRefusedError, BlockingIOError)):
                early.connect(server.sockets[0].getsockname())
        await turns(3)
        assert not clients.made
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        peers = connect(server)
        await clients.count(1)
        close_all(peers)
        await clients.all_lost()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_close_stops_accepting_and_leaves_the_clients_alone(loop):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        (peer,) = connect(server)
        await clients.count(1)
        server.close()
        server.close()
        await turns(2)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        peer.send(b"still served")
        await until(lambda: clients.made[0].data == b"still served")
        peer.close()
        await clients.made[0].lost
        await server.wait_closed()

    loop.run_until_complete(main())


def test_serve_forever_ends_with_close(loop):
    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        serving = asyncio.ensure_future(server.serve_forever())
        await turns(3)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    loop.run_until_complete(main())


def test_serve_forever_twice_is_an_error(loop):
    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        serving = asyncio.ensure_future(server.serve_forever())
        await turns(3)
        with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()

    loop.run_until_complete(main())


def test_a_server_is_an_async_context_manager(loop):
    async def main():
        async with await loop.create_server(Recorder, "127.0.0.1", 0) as server:
            assert server.is_serving()
        assert not server.is_serving()
        assert server.sockets == ()

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="wait_closed waits for clients since 3.12.1")
def test_wait_closed_waits_for_the_clients(loop):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        (peer,) = connect(server)
        await clients.count(1)
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await turns(5)
        assert not waiting.done()
        peer.close()
        await waiting
        await clients.made[0].lost

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="close_clients is new in 3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_a_server_can_end_its_clients(loop, how):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        peers = connect(server, 3)
        await clients.count(3)
        for protocol in clients.made:
            protocol.transport.write(bytes(1 << 23))
        server.close()
        getattr(server, how)()
        if how == "close_clients":
            await turns(5)
            assert not any(protocol.lost.done() for protocol in clients.made)
            close_all(peers)
        await asyncio.gather(*(protocol.lost for protocol in clients.made))
        await server.wait_closed()
        close_all(peers)

    loop.run_until_complete(main())


def test_a_burst_of_connections_is_accepted_whole(loop):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, backlog=200)
        peers = connect(server, 150)
        await clients.count(150)
        names = {protocol.transport.get_extra_info("peername") for protocol in clients.made}
        assert names == {peer.getsockname() for peer in peers}
        close_all(peers)
        await asyncio.gather(*(protocol.lost for protocol in clients.made))
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_clients_that_left_before_they_were_accepted_do_no_harm(loop):
    async def main():
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        for peer in connect(server, 20):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
        (peer,) = connect(server)
        peer.send(b"here")
        await until(lambda: any(protocol.data == b"here" for protocol in clients.made))
        peer.close()
        await until(lambda: all(protocol.lost.done() for protocol in clients.made))
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_a_server_may_be_closed_by_the_connection_it_makes(loop):
    async def main():
        clients = Clients()

        class Closes(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                server.close()
                clients.made.append(self)

        server = await loop.create_server(Closes, "127.0.0.1", 0)
        peers = connect(server, 5)
        await until(lambda: clients.made)
        await turns(5)
        close_all(peers)
        await asyncio.gather(*(protocol.lost for protocol in clients.made))
        await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio before 3.14.7 leaves the socket open (gh-153133)")
def test_a_factory_that_raises_is_reported_in_debug_mode_and_the_socket_is_closed(loop):
    reports = catch_reports(loop)
    loop.set_debug(True)

    async def main():
        def factory():
            raise LookupError("no protocol today")

        server = await loop.create_server(factory, "127.0.0.1", 0)
        (peer,) = connect(server)
        peer.setblocking(False)
        await until(lambda: reports)
        assert isinstance(reports[0]["exception"], LookupError)
        reports.clear()
        await until(lambda: ended(peer))
        peer.close()
        server.close()
        await server.wait_closed()

    def ended(peer):
        try:
            return peer.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    loop.run_until_complete(main())


def test_several_hosts_give_several_sockets(loop):
    async def main():
        server = await loop.create_server(Recorder, ["127.0.0.1", "127.0.0.2"], 0)
        hosts = sorted(sock.getsockname()[0] for sock in server.sockets)
        assert hosts == ["127.0.0.1", "127.0.0.2"]
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_an_address_in_use_is_told_with_the_address(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            host, port = taken.getsockname()
            with pytest.raises(OSError, match=str(port)):
                await loop.create_server(Recorder, host, port)

    loop.run_until_complete(main())


def test_a_listening_socket_can_be_adopted(loop):
    async def main():
        clients = Clients()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = await loop.create_server(clients, sock=listener)
        peers = connect(server)
        await clients.count(1)
        close_all(peers)
        await clients.made[0].lost
        server.close()
        await server.wait_closed()
        with pytest.raises(ValueError):
            with socket.socket(type=socket.SOCK_DGRAM) as datagram:
                await loop.create_server(clients, sock=datagram)
        with pytest.raises(ValueError):
            await loop.create_server(clients)

    loop.run_until_complete(main())


def test_reuse_port_lets_two_servers_share_a_port(loop):
    async def main():
        one = await loop.create_server(Recorder, "127.0.0.1", 0, reuse_port=True)
        port = one.sockets[0].getsockname()[1]
        two = await loop.create_server(Recorder, "127.0.0.1", port, reuse_port=True)
        for server in (one, two):
            server.close()
            await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="keep_alive is new in 3.13")
def test_keep_alive_is_set_on_the_listener(loop):
    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0, keep_alive=True)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_start_server_echoes_through_streams(loop):
    async def main():
        async def echo(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for word in (b"one\n", b"two\n"):
            writer.write(word)
            assert await reader.readline() == word.upper()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns(3)

    loop.run_until_complete(main())


def test_without_descriptors_the_server_pauses_reports_and_recovers(python_program):
    # EMFILE is met in a process of its own; the retry after a second is asyncio's.
    finished = python_program(
        """
import resource, socket

async def main():
    loop = asyncio.get_running_loop()
    reports, made = [], []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    class Client(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)

    server = await loop.create_server(Client, "127.0.0.1", 0)
    peers = []
    for _ in range(10):
        peer = socket.socket()
        peer.setblocking(False)
        peers.append(peer)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(peer.fileno() for peer in peers) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 3, hard))
    for peer in peers:
        peer.connect_ex(server.sockets[0].getsockname())
    while not reports:
        await asyncio.sleep(0)
    assert reports[0]["exception"].errno == 24, reports
    assert reports[0]["message"] == "socket.accept() out of system resource"
    assert len(made) < 10
    await asyncio.sleep(0)
    count = len(reports)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(reports) == count, len(reports)  # it paused, it does not spin
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    while len(made) < 10:
        await asyncio.sleep(0.01)
    server.close()
    for transport in made:
        transport.abort()
    for peer in peers:
        peer.close()
    await asyncio.sleep(0)
    print("recovered")

run(main())
"""
    )
    assert finished.err == ""
    assert finished.out == "recovered\n"
