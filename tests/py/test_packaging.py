"""What a user installs: the source archive, the wheel, and the C library.

Everything is built from the checkout's last commit into temporary folders, installed into fresh
environments, and used from outside the checkout.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_LIMIT_S = 300  # a compilation, and what its environment fetches

pytestmark = [
    pytest.mark.timeout(BUILD_LIMIT_S),
    pytest.mark.skipif(
        not (ROOT / ".git").exists(),
        reason="a source archive is made from the files that git knows; this is no git checkout",
    ),
]

ECHO = """
import asyncio, importlib.metadata, sys
import yula

async def echo(reader, writer):
    writer.write(await reader.readexactly(1000))
    await writer.drain()
    writer.close()
    await writer.wait_closed()

async def main():
    assert type(asyncio.get_running_loop()) is yula.Loop
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"yula " * 200)
        assert await reader.read() == b"yula " * 200
        writer.close()
        await writer.wait_closed()

yula.run(main())
assert yula.__version__ == importlib.metadata.version("yula"), yula.__version__
print(yula.__file__)
print(sys.modules["yula._core"].__file__)
print(yula.__version__)
"""

USE_LIBYULA = r"""
#include <yula/yula.h>
#include <stdio.h>
int main(void)
{
    puts(yula_strerror(YULA_EOF));
    return 0;
}
"""


def run(*command, cwd=None, env=None):
    command = [str(part) for part in command]
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean_environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT_S - 20,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def clean_environment():
    """Without the checkout on the import path; with the environment's Meson and ninja on PATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment


def tracked_files(*paths):
    listing = run("git", "ls-tree", "-r", "-z", "--name-only", "HEAD", *paths, cwd=ROOT)
    return {name for name in listing.split("\0") if name}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="module")
def sdist(work):
    options = ["--sdist", "--no-isolation", "--outdir", work / "sdist"]
    run(sys.executable, "-m", "build", *options, ROOT)
    (archive,) = (work / "sdist").iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(work, sdist):
    """From the source archive and not from the checkout, as a distributor builds it."""
    options = ["--no-deps", "--no-build-isolation", "-w", work / "wheel"]
    run(sys.executable, "-m", "pip", "wheel", *options, sdist, cwd=work)
    (archive,) = (work / "wheel").iterdir()
    return archive


@pytest.fixture
def fresh_environment(tmp_path):
    """fresh_environment(requirement): the python of a new environment with it installed.

    pip builds a source archive in an environment of its own, with what pyproject.toml names.
    """

    def fresh_environment(requirement):
        venv.create(tmp_path / "env", symlinks=True)
        python = tmp_path / "env/bin/python"
        run(sys.executable, "-m", "pip", "--python", python, "install", requirement, cwd=tmp_path)
        return python

    return fresh_environment


def assert_an_echo_program_runs_on_the_installed_package(python, tmp_path):
    program = tmp_path / "echo.py"
    program.write_text(ECHO)
    out = run(python, "-I", "-W", "error", program, cwd=tmp_path)
    package, extension, version = out.split()
    assert Path(package).is_relative_to(tmp_path / "env")
    assert Path(extension).is_relative_to(tmp_path / "env")
    assert version == version_in_meson_build()

    program.write_text(
        "import asyncio\nasync def main(): print(type(asyncio.get_running_loop()))\nasyncio.run(main())\n"
    )
    out = run(python, "-m", "yula", program, cwd=tmp_path)
    assert "yula" in out


def version_in_meson_build():
    return re.search(r"^  version: '(.+)',$", (ROOT / "meson.build").read_text(), re.M).group(1)


def test_the_source_archive_holds_the_committed_files_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if not m.isdir()}
    assert names - {"PKG-INFO"} == tracked_files()


def test_no_build_product_is_committed():
    suffixes = {".so", ".o", ".a", ".pyc", ".whl", ".gz"}
    assert not [name for name in tracked_files() if Path(name).suffix in suffixes]


def test_the_wheel_holds_the_package_one_extension_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    extensions = {name for name in names if name.endswith(".so")}
    assert len(extensions) == 1
    assert extensions.pop().startswith("yula/_core.")
    # Also finds the file that was added to yula/ and not to its meson.build.
    package = {name for name in names if name.startswith("yula/") and not name.endswith(".so")}
    tracked = tracked_files("yula") | {f"yula/{n}" for n in tracked_files("include")}
    tracked.remove("yula/include/yula/tls.h")  # libyula-tls is no part of the extension
    assert package == {n for n in tracked if not n.endswith("meson.build")}
    assert "yula/py.typed" in package
    rest = {name for name in names if not name.startswith("yula/")}
    assert all(".dist-info/" in name for name in rest), rest
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in rest)


def test_the_extension_exports_its_entry_point_only(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        extension = archive.extract(name, tmp_path)
    out = run("nm", "--dynamic", "--defined-only", "--format=posix", extension)
    assert [line.split()[0] for line in out.splitlines()] == ["PyInit__core"]


def test_a_program_runs_on_the_package_installed_from_the_wheel(wheel, fresh_environment, tmp_path):
    python = fresh_environment(wheel)
    assert_an_echo_program_runs_on_the_installed_package(python, tmp_path)


def test_an_extension_module_is_built_against_the_installed_wheel(
    wheel, fresh_environment, tmp_path
):
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no Python headers on this machine")
    python = fresh_environment(wheel)
    include = run(python, "-c", "import yula; print(yula.get_include())", cwd=tmp_path).strip()
    assert Path(include).is_relative_to(tmp_path / "env")
    source = ROOT / "examples/c-extension/responder.c"
    name = "responder" + sysconfig.get_config_var("EXT_SUFFIX")
    run("cc", "-std=gnu17", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}",
        f"-I{include}", source, "-o", tmp_path / name)  # fmt: skip
    out = run(python, "-c", "import responder; print(responder.__name__)", cwd=tmp_path)
    assert out == "responder\n"


def test_a_program_runs_on_the_package_installed_from_the_source_archive(
    sdist, fresh_environment, tmp_path
):
    python = fresh_environment(sdist)
    assert_an_echo_program_runs_on_the_installed_package(python, tmp_path)


def test_a_c_program_is_built_against_the_installed_libyula(tmp_path):
    prefix = tmp_path / "prefix"
    meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
    options = ["-Dpython=disabled", "-Dtests=false", "--prefix", prefix, "--libdir", "lib"]
    run(*meson, "setup", tmp_path / "build", ROOT, *options)
    run(*meson, "install", "-C", tmp_path / "build")

    headers = {path.name for path in (prefix / "include/yula").iterdir()}
    ours = {Path(n).name for n in tracked_files("include/yula") if n.endswith(".h")}
    # For extension modules: they come with the package, not with the library.
    ours -= {"python.h", "python_table.h"}
    with_tls = (prefix / "lib/pkgconfig/yula-tls.pc").exists()
    assert headers == (ours if with_tls else ours - {"tls.h"})
    assert os.readlink(prefix / "lib/libyula.so").startswith("libyula.so.0")

    env = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    assert run("pkg-config", "--modversion", "yula", env=env).strip() == version_in_meson_build()
    (tmp_path / "use.c").write_text(USE_LIBYULA)
    flags = run("pkg-config", "--cflags", "--libs", "yula", env=env).split()
    shared = [*flags, "-o", "shared"]
    static = [flags[0], prefix / "lib/libyula.a", "-pthread", "-o", "static"]
    for program in (shared, static):
        run("cc", "-std=c99", "-Wall", "-Werror", "use.c", *program, cwd=tmp_path)
        out = run(tmp_path / program[-1], env={"LD_LIBRARY_PATH": str(prefix / "lib")})
        assert out == "end of stream\n"
    if with_tls:
        assert_a_program_uses_the_installed_libyula_tls(prefix, env, tmp_path)


def assert_a_program_uses_the_installed_libyula_tls(prefix, env, tmp_path):
    source = ROOT / "tests/compilers/use_tls.c"
    flags = run("pkg-config", "--cflags", "--libs", "yula-tls", env=env).split()
    archives = [prefix / "lib/libyula-tls.a", prefix / "lib/libyula.a", "-lssl", "-lcrypto"]
    shared = [*flags, "-o", "tls-shared"]
    static = [flags[0], *archives, "-pthread", "-o", "tls-static"]
    for program in (shared, static):
        run("cc", "-std=c99", "-Wall", "-Werror", source, *program, cwd=tmp_path)
        out = run(tmp_path / program[-1], env={"LD_LIBRARY_PATH": str(prefix / "lib")})
        assert out == "a server must have a certificate\n"
