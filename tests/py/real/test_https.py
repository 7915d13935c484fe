"""The same servers under TLS."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import zlib

import aiohttp
import httpx
import pytest
from http_site import SERVERS, Site, crc_of_pattern, serve

MIB = 1024 * 1024


@pytest.fixture(params=SERVERS)
def kind(request):
    return request.param


@pytest.fixture
def site(loop_class):
    site = Site()
    yield site
    assert site.loops == {loop_class}


def test_httpx_aiohttp_and_curl_verify_the_certificate_and_are_answered(
    run, kind, site, certificates, curl
):
    async def main():
        async with serve(kind, site, certificate=certificates.server_pem) as served:
            async with httpx.AsyncClient(verify=certificates.ca) as client:
                for number in range(10):
                    reply = (await client.get(f"{served.url}/?nonce={number}")).json()
                    assert reply["nonce"] == str(number)
            async with aiohttp.ClientSession() as session:
                for number in range(10):
                    url = f"{served.url}/?nonce={number}"
                    async with session.get(url, ssl=certificates.ca) as response:
                        reply = await response.json(content_type=None)
                        assert reply["nonce"] == str(number)
            done = await curl("--cacert", certificates.ca_pem, f"{served.url}/?nonce=1")
            assert done.code == 0, done.err
            assert json.loads(done.out)["nonce"] == "1"

    run(main())


def test_clients_that_do_not_trust_the_certificate_refuse_it_and_the_server_goes_on(
    run, kind, site, certificates
):
    async def main():
        async with serve(kind, site, certificate=certificates.server_pem) as served:
            stranger = ssl.create_default_context()
            async with httpx.AsyncClient(verify=stranger) as client:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(served.url)
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await session.get(served.url, ssl=stranger)
            async with httpx.AsyncClient(verify=certificates.ca) as client:
                assert (await client.get(served.url)).status_code == 200

    run(main())


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_bodies_of_8_mib_go_both_ways(run, kind, site, certificates, client):
    size = 8 * MIB

    async def chunks():
        for _ in range(128):
            yield b"z" * (size // 128)

    async def with_httpx(served):
        async with httpx.AsyncClient(verify=certificates.ca) as session:
            counted = (await session.post(f"{served.url}/count", content=chunks())).json()
            crc = 0
            async with session.stream("GET", f"{served.url}/big?size={size}") as response:
                async for chunk in response.aiter_bytes():
                    crc = zlib.crc32(chunk, crc)
        return counted, crc

    async def with_aiohttp(served):
        connector = aiohttp.TCPConnector(ssl=certificates.ca)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.post(f"{served.url}/count", data=chunks()) as response:
                counted = await response.json(content_type=None)
            crc = 0
            async with session.get(f"{served.url}/big?size={size}") as response:
                async for chunk in response.content.iter_any():
                    crc = zlib.crc32(chunk, crc)
        return counted, crc

    async def main():
        async with serve(kind, site, certificate=certificates.server_pem) as served:
            talk = with_httpx if client == "httpx" else with_aiohttp
            counted, crc = await talk(served)
        assert counted == {"length": size, "crc": zlib.crc32(b"z" * size)}
        assert crc == crc_of_pattern(size)

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_the_middle_of_the_response_is_noticed(
    run, kind, site, certificates, how
):
    async def main():
        async with serve(kind, site, certificate=certificates.server_pem) as served:
            reader, writer = await asyncio.open_connection(
                served.host, served.port, ssl=certificates.ca, server_hostname="localhost"
            )
            writer.write(b"GET /big?size=1000000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readexactly(100_000)
            if how == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            await site.gone.wait()
            assert site.sent < 1_000_000_000
            async with httpx.AsyncClient(verify=certificates.ca) as client:
                assert (await client.get(served.url)).status_code == 200

    run(main())


def test_plain_http_to_a_tls_port_fails_and_the_server_goes_on(run, kind, site, certificates):
    async def main():
        async with serve(kind, site, certificate=certificates.server_pem) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()
            async with httpx.AsyncClient(verify=certificates.ca) as client:
                assert (await client.get(served.url)).status_code == 200

    run(main())
