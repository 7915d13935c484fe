"""What a transport and a server tell about themselves."""

import asyncio
import gc
import socket
import warnings

import pytest
from peers import KINDS, Recorder, pair, until, wired


@KINDS
def test_the_types_are_asyncios(loop, kind):
    async def main():
        async with wired(Recorder(), kind) as (transport, _):
            assert isinstance(transport, asyncio.Transport)
            assert isinstance(transport, asyncio.ReadTransport)
            assert isinstance(transport, asyncio.WriteTransport)
            assert not isinstance(transport, asyncio.DatagramTransport)
            assert isinstance(transport.get_extra_info("socket"), asyncio.trsock.TransportSocket)

    loop.run_until_complete(main())


@KINDS
def test_the_addresses_are_known_and_survive_the_close(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            sockname, peername = peer.getpeername(), peer.getsockname()
            assert transport.get_extra_info("sockname") == sockname
            assert transport.get_extra_info("peername") == peername
            transport.close()
            await protocol.lost
            assert transport.get_extra_info("sockname") == sockname
            assert transport.get_extra_info("peername") == peername

    loop.run_until_complete(main())


def test_an_unknown_name_gives_the_default(loop):
    async def main():
        async with wired(Recorder()) as (transport, _):
            assert transport.get_extra_info("no such thing") is None
            assert transport.get_extra_info("no such thing", 5) == 5
            assert transport.get_extra_info("sslcontext") is None
            assert transport.get_extra_info("peername", "default") != "default"

    loop.run_until_complete(main())


def test_the_transports_socket_answers_questions_and_refuses_io(loop):
    async def main():
        async with wired(Recorder()) as (transport, peer):
            sock = transport.get_extra_info("socket")
            assert sock.family == socket.AF_INET
            assert sock.type == socket.SOCK_STREAM
            assert sock.getsockname() == peer.getpeername()
            assert sock.getpeername() == peer.getsockname()
            assert sock.fileno() >= 0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert not hasattr(sock, "recv") or not hasattr(sock, "send")

    loop.run_until_complete(main())


def test_the_descriptor_of_the_transport_is_the_adopted_one(loop):
    async def main():
        ours, peer = pair()
        number = ours.fileno()
        with peer:
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            assert transport.get_extra_info("socket").fileno() == number
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_the_protocol_can_be_read_and_set(loop):
    async def main():
        first, second = Recorder(), Recorder()
        async with wired(first) as (transport, _):
            assert transport.get_protocol() is first
            transport.set_protocol(second)
            assert transport.get_protocol() is second
            transport.set_protocol(first)

    loop.run_until_complete(main())


def test_the_private_names_that_libraries_read_are_there(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, _):
            assert transport._loop is loop
            assert transport._protocol is protocol
            assert transport._extra["peername"] == transport.get_extra_info("peername")
            assert transport._start_tls_compatible is True
            assert transport._sock is not None
            assert transport._paused is False
            transport.pause_reading()
            assert transport._paused is True

    loop.run_until_complete(main())


def test_the_repr_tells_the_state(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, _):
            number = transport.get_extra_info("socket").fileno()
            assert f"fd={number}" in repr(transport)
            transport.close()
            assert "clos" in repr(transport)
            await protocol.lost
            assert "closed" in repr(transport)

    loop.run_until_complete(main())


def test_is_closing_tells_from_the_call_of_close_on(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, _):
            assert transport.is_closing() is False
            transport.close()
            assert transport.is_closing() is True
            await protocol.lost
            assert transport.is_closing() is True

    loop.run_until_complete(main())


@KINDS
def test_a_transport_still_open_when_its_loop_is_closed_gives_a_resource_warning(loop, kind):
    # asyncio drops a paused transport earlier, with its last reference; yula's loop keeps it.
    ours, peer = pair(kind)

    async def main():
        if kind == "unix":
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=ours)
        else:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        assert not transport.is_closing()

    with peer, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run_until_complete(main())
        loop.close()
        gc.collect()
        messages = [str(w.message) for w in caught if w.category is ResourceWarning]
        assert any("unclosed transport" in message for message in messages)
        ours.close()


def test_server_sockets_are_transport_sockets_in_a_tuple(loop):
    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        assert isinstance(server, asyncio.AbstractServer)
        assert isinstance(server.sockets, tuple)
        assert len(server.sockets) == 1
        assert isinstance(server.sockets[0], asyncio.trsock.TransportSocket)
        assert server.get_loop() is loop
        assert server.is_serving()
        server.close()
        assert server.sockets == ()
        assert not server.is_serving()
        await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_accepted_connection_knows_both_ends(loop, family):
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    host = "127.0.0.1" if family == socket.AF_INET else "::1"

    async def main():
        made = []

        def factory():
            made.append(Recorder())
            return made[-1]

        server = await loop.create_server(factory, host, 0, family=family)
        with socket.socket(family) as client:
            client.connect(server.sockets[0].getsockname())
            await until(lambda: made and made[0].transport)
            transport = made[0].transport
            assert transport.get_extra_info("peername") == client.getsockname()
            assert transport.get_extra_info("sockname") == client.getpeername()
            assert transport.get_extra_info("socket").family == family
        await made[0].lost
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_a_plain_transport_has_no_tls_to_tell_of(loop):
    async def main():
        async with wired(Recorder()) as (transport, _):
            for name in ("sslcontext", "ssl_object", "peercert", "cipher", "compression"):
                assert transport.get_extra_info(name) is None

    loop.run_until_complete(main())
