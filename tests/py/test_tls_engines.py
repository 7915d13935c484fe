"""TLS with its records made and read in C: each engine does what asyncio's methods do.

What a test compares is the same program with asyncio's own loop, or with YULA_TLS_ENGINE=asyncio.
"""

import asyncio
import gc
import random
import socket
import ssl
import weakref

import pytest
import trustme
from peers import BufferedRecorder, Recorder, turns, until

import yula

ENGINES = pytest.mark.parametrize("engine", ["direct", "method", "asyncio"])
VERSIONS = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server_context(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def use(monkeypatch):
    return lambda engine: monkeypatch.setenv("YULA_TLS_ENGINE", engine)


def engine_of(transport):
    return transport._ssl_protocol._engine


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class RawClient:
    """A TLS client whose records a test can look at before they are sent."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def connect(self, address):
        await self.loop.sock_connect(self.sock, address)
        while True:
            try:
                self.tls.do_handshake()
                await self.send(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                await self.send(self.outgoing.read())
                self.incoming.write(await self.loop.sock_recv(self.sock, 65536))

    def records(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def goodbye(self):
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def send(self, data):
        await self.loop.sock_sendall(self.sock, data)


async def serve(factory, context):
    made = []

    def remember():
        made.append(factory())
        return made[-1]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(remember, "127.0.0.1", 0, ssl=context)
    return server, made


async def connect(factory, server, context):
    return await asyncio.get_running_loop().create_connection(
        factory, *server.sockets[0].getsockname(), ssl=context, server_hostname="localhost"
    )


async def end(server):
    server.close()
    await server.wait_closed()
    await turns(5)


@ENGINES
@VERSIONS
@pytest.mark.parametrize("kind", [Recorder, BufferedRecorder])
def test_every_byte_of_any_size_comes_back(
    use, server_context, client_context, engine, version, kind
):
    use(engine)
    server_context.maximum_version = ssl.TLSVersion[version]
    chance = random.Random(engine + version)
    sizes = [1, 2, 16383, 16384, 16385, 65536, 262144, 300_000]
    sizes += [chance.randrange(1, 100_000) for _ in range(20)]

    async def main():
        server, made = await serve(Echo, server_context)
        transport, protocol = await connect(kind, server, client_context)
        sent = bytearray()
        for size in sizes:
            data = chance.randbytes(size)
            sent += data
            if chance.random() < 0.3:
                third = size // 3
                transport.writelines([data[:third], data[third : 2 * third], data[2 * third :]])
            elif chance.random() < 0.5:
                transport.write(bytearray(data))
            else:
                transport.write(memoryview(data))
            if chance.random() < 0.7:
                await until(lambda: len(protocol.data) == len(sent))  # noqa: B023
        await until(lambda: len(protocol.data) == len(sent))
        assert protocol.data == sent
        assert engine_of(transport) == engine_of(made[0].transport) == engine
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await protocol.lost is None
        await end(server)

    yula.run(main())


@ENGINES
def test_a_record_may_arrive_in_any_pieces(use, server_context, client_context, engine):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        client = RawClient(client_context)
        await client.connect(server.sockets[0].getsockname())
        expected = b""
        for piece in (1, 2, 3, 5, 7, 50, 99):
            records = client.records(b"a" * 40) + client.records(b"b" * 3)
            expected += b"a" * 40 + b"b" * 3
            for start in range(0, len(records), piece):
                await client.send(records[start : start + piece])
                await turns(2)
        await until(lambda: made and len(made[0].data) == len(expected))
        assert made[0].data == expected
        client.sock.close()
        await made[0].lost
        await end(server)

    yula.run(main())


@ENGINES
def test_data_and_goodbye_in_one_segment(use, server_context, client_context, engine):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        client = RawClient(client_context)
        await client.connect(server.sockets[0].getsockname())
        await client.send(client.records(b"first"))
        await until(lambda: made and made[0].data == b"first")
        await client.send(client.records(b" last") + client.goodbye())
        assert await made[0].lost is None
        assert made[0].data == b"first last"
        assert made[0].calls == ["made", "data", "eof", "lost"]
        client.sock.close()
        await end(server)

    yula.run(main())


def what_a_server_sees(factory, server_context, client_context, tamper):
    """What the loop's exception handler and the protocol are told, as text."""
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda loop, context: seen.append((context["message"], repr(context["exception"])))
        )
        server, made = await serve(Recorder, server_context)
        client = RawClient(client_context)
        await client.connect(server.sockets[0].getsockname())
        await client.send(client.records(b"hello"))
        await until(lambda: made and made[0].data == b"hello")
        await client.send(tamper(client))
        seen.append(repr(await made[0].lost))
        seen.append((bytes(made[0].data), made[0].calls))
        client.sock.close()
        await end(server)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    return seen


def changed(client):
    records = bytearray(client.records(b"changed on the way"))
    records[-1] ^= 1
    return bytes(records)


def after_good_data(client):
    return client.records(b"good") + changed(client)


@pytest.mark.parametrize(
    "tamper",
    [
        changed,
        after_good_data,
        lambda client: b"GET / HTTP/1.1\r\n\r\n",
        lambda client: b"\x17\x03\x03\xff\xff" + b"x" * 100,
        lambda client: b"\x15\x03\x03\x00\x02\x02\x28",
        lambda client: b"\x63\x03\x03\x00\x05hello",
    ],
    ids=["changed", "after good data", "plain text", "too long", "alert", "unknown type"],
)
@VERSIONS
def test_a_broken_record_is_reported_in_asyncios_words(
    use, server_context, client_context, tamper, version
):
    server_context.maximum_version = ssl.TLSVersion[version]
    given = server_context, client_context, tamper
    expected = what_a_server_sees(asyncio.SelectorEventLoop, *given)
    for engine in ("direct", "method", "asyncio"):
        use(engine)
        assert what_a_server_sees(yula.Loop, *given) == expected, engine


@ENGINES
def test_what_data_received_raises_closes_the_connection(
    use, server_context, client_context, engine
):
    use(engine)

    class Raises(Recorder):
        def data_received(self, data):
            raise RuntimeError("not today")

    async def main():
        seen = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: seen.append((context["message"], str(context["exception"])))
        )
        server, made = await serve(Raises, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        transport.write(b"hello")
        await protocol.lost
        assert seen == [("Fatal error on SSL protocol", "not today")]
        assert str(await made[0].lost) == "not today"
        await end(server)

    yula.run(main())


@ENGINES
def test_a_writer_is_paused_while_its_peer_does_not_read(
    use, server_context, client_context, engine
):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        await until(lambda: made and made[0].transport is not None)
        made[0].transport.pause_reading()
        sent = 0
        while "pause" not in protocol.calls:
            transport.write(b"x" * 100_000)
            sent += 100_000
            await turns(1)
        low, high = transport.get_write_buffer_limits()
        assert transport.get_write_buffer_size() >= high > low
        transport.write(b"y")
        made[0].transport.resume_reading()
        await until(lambda: len(made[0].data) == sent + 1)
        assert made[0].data.endswith(b"xy")
        await until(lambda: "resume" in protocol.calls)
        assert transport.get_write_buffer_size() == 0
        transport.write(b"z")
        await until(lambda: made[0].data.endswith(b"xyz"))
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


@ENGINES
def test_what_was_written_before_close_arrives(use, server_context, client_context, engine):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        for _ in range(30):
            transport.write(b"x" * 100_000)
        transport.close()
        transport.write(b"never")
        assert transport.is_closing()
        assert await protocol.lost is None
        await until(lambda: made and made[0].lost.done())
        assert made[0].data == b"x" * 3_000_000
        await end(server)

    yula.run(main())


@ENGINES
def test_what_write_is_given_may_change_afterwards(use, server_context, client_context, engine):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        transport, _ = await connect(Recorder, server, client_context)
        data = bytearray(b"before" * 10_000)
        transport.write(data)
        data[:] = b"after!" * 10_000
        await until(lambda: made and len(made[0].data) == 60_000)
        assert made[0].data == b"before" * 10_000
        with pytest.raises(TypeError):
            transport.write("text")
        transport.write(b"")
        transport.abort()
        await made[0].lost
        await end(server)

    yula.run(main())


@ENGINES
def test_tls_inside_of_tls(use, server_context, client_context, engine):
    use(engine)

    class Outer(Recorder):
        def data_received(self, data):
            assert data == b"inner please"
            self.inner = Echo()
            self.upgrading = asyncio.ensure_future(self.upgrade())

        async def upgrade(self):
            transport = await asyncio.get_running_loop().start_tls(
                self.transport, self.inner, server_context, server_side=True
            )
            self.inner.connection_made(transport)

    async def main():
        loop = asyncio.get_running_loop()
        server, made = await serve(Outer, server_context)
        outer, _ = await connect(Recorder, server, client_context)
        outer.write(b"inner please")
        await until(lambda: made and hasattr(made[0], "upgrading"))
        inner = Recorder()
        transport = await loop.start_tls(outer, inner, client_context, server_hostname="localhost")
        inner.connection_made(transport)
        await made[0].upgrading
        data = random.Random(1).randbytes(500_000)
        transport.write(data)
        await until(lambda: len(inner.data) == len(data))
        assert inner.data == data
        assert engine_of(transport) == engine
        transport.close()
        await inner.lost
        await made[0].inner.lost
        await end(server)

    yula.run(main())


@ENGINES
def test_streams_change_to_tls_with_start_tls(use, server_context, client_context, engine):
    use(engine)

    async def main():
        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"GO\n")
            await writer.start_tls(server_context)
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"GO\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        for size in (1, 1000, 100_000, 400_000):
            data = random.Random(size).randbytes(size)
            writer.writelines([data[:10], data[10:]])
            await writer.drain()
            assert await reader.readexactly(size) == data
        assert engine_of(writer.transport) == engine
        writer.close()
        await writer.wait_closed()
        await end(server)

    yula.run(main())


@ENGINES
def test_client_certificates_alpn_and_server_names(
    use, authority, server_context, client_context, engine
):
    use(engine)
    other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "other.example").configure_cert(other)
    authority.configure_trust(other)
    other.verify_mode = ssl.CERT_REQUIRED
    other.set_alpn_protocols(["two", "three"])
    asked = []

    def choose(sslobject, name, context):
        asked.append(name)
        sslobject.context = other

    server_context.sni_callback = choose
    server_context.set_alpn_protocols(["two", "three"])
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    authority.issue_cert("client@example.org").configure_cert(client_context)
    client_context.set_alpn_protocols(["one", "two"])

    async def main():
        server, made = await serve(Echo, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        assert asked == ["localhost"]
        ours = transport.get_extra_info("ssl_object")
        theirs = made[0].transport.get_extra_info("ssl_object")
        assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == "two"
        assert ("DNS", "other.example") in ours.getpeercert()["subjectAltName"]
        assert theirs.getpeercert()["subjectAltName"] == (("email", "client@example.org"),)
        assert theirs.context is other
        assert engine_of(transport) == engine_of(made[0].transport) == engine
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


def test_an_ssl_object_with_methods_of_its_own_keeps_them(use, server_context, client_context):
    use("direct")
    called = []

    class Watched(ssl.SSLObject):
        def read(self, *args):
            called.append("read")
            return super().read(*args)

        def write(self, data):
            called.append("write")
            return super().write(data)

    client_context.sslobject_class = Watched

    async def main():
        server, _ = await serve(Echo, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        called.clear()
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        assert engine_of(transport) == "asyncio"
        assert set(called) == {"read", "write"}
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


def test_a_message_callback_is_left_to_the_ssl_module(use, server_context, client_context):
    use("direct")
    messages = []
    client_context._msg_callback = lambda *args: messages.append(args[3])

    async def main():
        server, _ = await serve(Echo, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        messages.clear()
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        assert engine_of(transport) == "method"
        assert messages
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


@ENGINES
def test_the_ssl_object_outlives_its_connection(use, server_context, client_context, engine):
    use(engine)

    async def main():
        server, made = await serve(Echo, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        kept = transport.get_extra_info("ssl_object")
        connection = weakref.ref(transport._ssl_protocol)
        transport.close()
        await protocol.lost
        del transport, made
        protocol.transport = None
        await end(server)
        await turns(5)
        gc.collect()
        assert connection() is None
        assert kept.version() in ("TLSv1.2", "TLSv1.3")
        assert kept.getpeercert()["subject"] is not None
        with pytest.raises(ssl.SSLError):
            kept.read(10)
        with pytest.raises(ssl.SSLError):
            kept.write(b"too late")

    yula.run(main())


@ENGINES
def test_the_ssl_object_can_be_used_beside_the_transport(
    use, server_context, client_context, engine
):
    use(engine)

    async def main():
        server, made = await serve(Recorder, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        transport.write(b"one ")
        transport.get_extra_info("ssl_object").write(b"two ")
        transport.write(b"three")
        await until(lambda: made and made[0].data == b"one two three")
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


def test_the_engine_is_the_direct_one_by_default(monkeypatch, server_context, client_context):
    monkeypatch.delenv("YULA_TLS_ENGINE", raising=False)

    async def main():
        server, _ = await serve(Echo, server_context)
        transport, protocol = await connect(Recorder, server, client_context)
        assert engine_of(transport) is None
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        assert engine_of(transport) == "direct"
        transport.close()
        await protocol.lost
        await end(server)

    yula.run(main())


def test_an_unknown_engine_is_an_error(use, client_context):
    use("fast")

    async def main():
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(ValueError, match="YULA_TLS_ENGINE: 'fast'"):
            await asyncio.get_running_loop().create_connection(
                Recorder, sock=ours, ssl=client_context, server_hostname="localhost"
            )
        ours.close()

    yula.run(main())


@ENGINES
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_writing_after_the_loop_was_closed_does_no_harm(
    use, server_context, client_context, engine
):
    use(engine)

    async def main():
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(Echo, theirs, ssl=server_context)
        )
        transport, protocol = await loop.create_connection(
            Recorder, sock=ours, ssl=client_context, server_hostname="localhost"
        )
        accepted, _ = await accepting
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        return transport, accepted, ours, theirs

    loop = yula.Loop()
    transport, accepted, ours, theirs = loop.run_until_complete(main())
    loop.close()
    for each in (transport, accepted):
        each.write(b"too late")
        each.writelines([b"too", b"late"])
    ours.close()
    theirs.close()
    del transport, accepted, each, loop
    gc.collect()
