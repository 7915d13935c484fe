"""A real PostgreSQL and a real Redis for the tests, each on a private port and in a private folder.

    with services.Postgres() as postgres:
        postgres.host, postgres.port, postgres.socket_folder

The servers come from Debian packages. They never run as root, keep nothing, and end with the block
or, should the test session be killed, by the kernel's parent-death signal.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_LIMIT_S = 60
ATTEMPTS = 5  # another program can take the port between our choice and the server's bind


class MissingService(Exception):
    pass


class Service:
    """A server process as a context manager; subclasses say how to run it and when it is ready."""

    host = "127.0.0.1"
    user = "nobody"  # who runs it if we are root
    stop_signal = signal.SIGTERM

    def __init__(self, certificate=None):
        self.certificate = certificate  # (certificate chain, key) in PEM bytes: also listen for TLS

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self.folder = Path(tempfile.mkdtemp(prefix=f"yula-{type(self).__name__.lower()}-"))
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            if self.certificate:
                self.write("server.crt", self.certificate[0])
                self.write("server.key", self.certificate[1])
            self.give_away(self.folder)
            self.prepare()
            for _ in range(ATTEMPTS):
                if self.start():
                    break
            else:
                raise RuntimeError(f"{type(self).__name__} does not start:\n{self.log()}")
            undo.callback(self.stop)
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *exc_info):
        self.undo.close()

    def start(self):
        self.choose_ports()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                # A session of its own: Ctrl-C in the terminal is for the tests, which then stop us.
                self.as_user(self.command(), "--pdeathsig", "INT"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            give_up = time.monotonic() + START_LIMIT_S
            while time.monotonic() < give_up and self.process.poll() is None:
                if self.is_ready():
                    return True
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise
        self.stop()
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def as_user(self, command, *options):
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            options += (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
        return ["setpriv", *options, "--", *map(str, command)] if options else command

    def give_away(self, path):
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            for each in [path, *path.rglob("*")]:
                os.chown(each, entry.pw_uid, entry.pw_gid)

    def write(self, name, content):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "log").read_text(errors="replace")

    def choose_ports(self):
        self.port = free_port()

    def prepare(self):
        pass


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def binary(name, package, *folders):
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if found is None:
        raise MissingService(
            f"{name} is not installed: apt-get install {package} (`make test` does)"
        )
    return found


class Postgres(Service):
    database = login = "yula"
    user = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients

    def binary(self, name):
        folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        return binary(name, "postgresql", *folders)

    def prepare(self):
        self.data = self.folder / "data"
        self.socket_folder = self.folder
        initdb = [self.binary("initdb"), "--pgdata", self.data, "--username", self.login]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(self.as_user(initdb), capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}\n{done.stderr}")

    def command(self):
        options = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.socket_folder,
            "fsync": "off",
            "max_connections": 40,
        }
        if self.certificate:
            options["ssl"] = "on"
            options["ssl_cert_file"] = self.folder / "server.crt"
            options["ssl_key_file"] = self.folder / "server.key"
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [self.binary("postgres"), "-D", self.data, *settings]

    def is_ready(self):
        common = ["--host", self.host, "--port", self.port, "--username", self.login]
        check = [self.binary("pg_isready"), "--quiet", *common, "--dbname", "postgres"]
        if subprocess.run(list(map(str, check))).returncode:
            return False
        create = [self.binary("createdb"), *common, "--maintenance-db=postgres", self.database]
        return subprocess.run(list(map(str, create)), capture_output=True).returncode == 0


class Redis(Service):
    def choose_ports(self):
        super().choose_ports()
        self.tls_port = free_port()

    def command(self):
        options = {
            "bind": self.host,
            "port": self.port,
            "unixsocket": self.socket_path,
            "dir": self.folder,
            "save": "",
            "appendonly": "no",
        }
        if self.certificate:
            options["tls-port"] = self.tls_port
            options["tls-cert-file"] = self.folder / "server.crt"
            options["tls-key-file"] = self.folder / "server.key"
            options["tls-auth-clients"] = "no"
        settings = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [binary("redis-server", "redis-server"), *settings]

    @property
    def socket_path(self):
        return self.folder / "redis.sock"

    def is_ready(self):
        try:
            with socket.create_connection((self.host, self.port), 5) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(64) == b"+PONG\r\n"
        except OSError:
            return False
