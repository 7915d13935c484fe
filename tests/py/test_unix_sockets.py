"""Unix-domain servers and clients: paths, abstract names, cleaning up."""

import asyncio
import os
import socket
import sys

import pytest
from peers import Recorder, turns, until


async def talk(loop, address):
    """Echo one word through a server at the address."""

    class Echo(Recorder):
        def data_received(self, data):
            self.transport.write(data)

    server = await loop.create_unix_server(Echo, address)
    transport, protocol = await loop.create_unix_connection(Recorder, address)
    transport.write(b"hello")
    await until(lambda: protocol.data == b"hello")
    transport.close()
    await protocol.lost
    server.close()
    await server.wait_closed()
    await turns(3)


def test_a_path_is_served_as_text_or_as_a_path_object(loop, tmp_path):
    loop.run_until_complete(talk(loop, str(tmp_path / "text")))
    loop.run_until_complete(talk(loop, tmp_path / "object"))


def test_an_abstract_name_is_served(loop):
    loop.run_until_complete(talk(loop, f"\0yula-test-{os.getpid()}-{id(loop)}"))


def test_an_abstract_name_given_as_bytes_can_be_connected(loop):
    async def main():
        name = f"\0yula-test-bytes-{os.getpid()}-{id(loop)}".encode()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            transport, protocol = await loop.create_unix_connection(Recorder, name)
            assert transport.get_extra_info("peername") == name
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_stale_socket_file_is_replaced_and_any_other_file_is_not(loop, tmp_path):
    async def main():
        stale = tmp_path / "stale"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(stale))
        server = await loop.create_unix_server(Recorder, str(stale))
        server.close()
        await server.wait_closed()
        plain = tmp_path / "plain"
        plain.write_text("precious")
        with pytest.raises(OSError, match="already in use"):
            await loop.create_unix_server(Recorder, str(plain))
        assert plain.read_text() == "precious"

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="cleanup_socket is new in 3.13")
def test_the_socket_file_is_removed_at_close_unless_told_otherwise(loop, tmp_path):
    async def main():
        for cleanup in (True, False):
            path = tmp_path / f"cleanup-{cleanup}"
            server = await loop.create_unix_server(Recorder, path, cleanup_socket=cleanup)
            assert path.exists()
            server.close()
            await server.wait_closed()
            assert path.exists() is not cleanup
        path = tmp_path / "taken over"
        server = await loop.create_unix_server(Recorder, path)
        path.unlink()
        path.write_text("somebody else's")
        server.close()
        await server.wait_closed()
        assert path.read_text() == "somebody else's"

    loop.run_until_complete(main())


def test_a_missing_path_is_the_right_error(loop, tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, str(tmp_path / "missing"))

    loop.run_until_complete(main())


def test_a_full_backlog_of_a_unix_listener_is_waited_for(loop, tmp_path):
    # connect() on a Unix socket answers EAGAIN when the backlog is full.
    async def main():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "full"))
            listener.listen(0)
            blockers = []
            while True:
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                blockers.append(sock)
                try:
                    sock.connect(str(tmp_path / "full"))
                except BlockingIOError:
                    break
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            with client:
                connecting = asyncio.ensure_future(
                    loop.sock_connect(client, str(tmp_path / "full"))
                )
                await turns(3)
                if connecting.done():
                    assert isinstance(connecting.exception(), BlockingIOError)
                connecting.cancel()
                await asyncio.wait([connecting])
            for sock in blockers:
                sock.close()

    loop.run_until_complete(main())


def test_open_unix_connection_and_start_unix_server_work_with_streams(loop, tmp_path):
    async def main():
        async def serve(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        path = str(tmp_path / "streams")
        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"line\n")
        assert await reader.read() == b"line\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns(3)

    loop.run_until_complete(main())


def test_arguments_that_exclude_each_other_are_refused(loop, tmp_path):
    async def main():
        with socket.socket(socket.AF_UNIX) as sock:
            with pytest.raises(ValueError, match="can not be specified at the same time"):
                await loop.create_unix_connection(Recorder, "x", sock=sock)
            with pytest.raises(ValueError, match="can not be specified at the same time"):
                await loop.create_unix_server(Recorder, "x", sock=sock)
        with pytest.raises(ValueError, match="was not specified"):
            await loop.create_unix_server(Recorder)
        with socket.socket() as tcp:
            with pytest.raises(ValueError, match="UNIX Domain"):
                await loop.create_unix_connection(Recorder, sock=tcp)

    loop.run_until_complete(main())
