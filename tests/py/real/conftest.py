"""Fixtures of the tests with real peers: certificates, services, curl."""

import asyncio
import collections
import shutil
import ssl
import sys
from pathlib import Path

import pytest
import services
import trustme

sys.path.insert(0, str(Path(__file__).parent))  # `import http_site`

Files = collections.namedtuple("Files", "server_pem ca_pem chain key")
Certificates = collections.namedtuple("Certificates", "server ca server_pem ca_pem")
Curl = collections.namedtuple("Curl", "code out err")


@pytest.fixture(scope="session")
def certificate_files(tmp_path_factory):
    """A certificate for localhost from an authority of our own: PEM files, and PEM bytes."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = issued.private_key_pem.bytes()
    return Files(str(folder / "server.pem"), str(folder / "ca.pem"), chain, key)


@pytest.fixture
def certificates(certificate_files):
    """Contexts for both sides, new for each test: clients change theirs (ALPN)."""
    files = certificate_files
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(files.server_pem)
    client = ssl.create_default_context(cafile=files.ca_pem)
    return Certificates(server, client, files.server_pem, files.ca_pem)


@pytest.fixture(scope="session")
def postgres(certificate_files):
    with services.Postgres((certificate_files.chain, certificate_files.key)) as running:
        yield running


@pytest.fixture(scope="session")
def redis_server(certificate_files):
    with services.Redis((certificate_files.chain, certificate_files.key)) as running:
        yield running


@pytest.fixture(scope="session")
def curl():
    """await curl(*arguments, stdin=b""): run curl beside the running loop; (code, out, err)."""
    program = shutil.which("curl")
    if program is None:
        raise services.MissingService("curl is not installed: apt-get install curl")

    async def curl(*arguments, stdin=b""):
        child = await asyncio.create_subprocess_exec(
            program,
            "--silent",
            "--show-error",
            "--max-time",
            "50",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate(stdin)
        return Curl(child.returncode, out, err.decode())

    return curl
