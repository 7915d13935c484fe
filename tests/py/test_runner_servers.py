"""Real servers under `python -m yula`: the application asks which loop it runs on.

Each in its ordinary setting, with uvloop and without, because what servers do about a loop that
nobody chose depends on whether uvloop can be imported.
"""

import importlib.util
import signal

import pytest
from programs import ASGI, TELL, YULA, execute, get, reports, served, told, without_uvloop

pytestmark = pytest.mark.timeout(90)


def needs(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


WITH_AND_WITHOUT_UVLOOP = pytest.mark.parametrize(
    "uvloop", [pytest.param(True, marks=needs("uvloop")), False], ids=["uvloop", "no uvloop"]
)


@pytest.fixture
def app(tmp_path):
    """Writes the application; app(uvloop) is what Popen needs to start a server of it."""
    (tmp_path / "app.py").write_text(ASGI)

    def app(uvloop=True):
        return {"cwd": tmp_path, "env": None if uvloop else without_uvloop(tmp_path)}

    return app


def uvicorn(*options):
    return (*YULA, "--report", "-m", "uvicorn", "app:app", "--port", "0", *options)


# --- uvicorn -------------------------------------------------------------------------------------


@needs("uvicorn")
@WITH_AND_WITHOUT_UVLOOP
@pytest.mark.parametrize("loop", ["auto", "asyncio", "uvloop", "none", "yula:new_event_loop"])
def test_uvicorn_serves_on_yula(app, loop, uvloop):
    if loop == "uvloop" and not uvloop:
        done = execute(*uvicorn("--loop", loop), **app(uvloop))
        assert done.code != 0
        assert "No module named 'uvloop'" in done.err
        return
    with served(*uvicorn("--loop", loop), **app(uvloop)) as server:
        assert told(get(server.port)) == ["yula"]
        server.stop(signal.SIGINT)
    assert reports(server.text) == {server.pid: "1 x yula.Loop ran"}


@needs("uvicorn")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_uvicorn_ends_as_it_ends_directly(app, number):
    codes = []
    for command in (uvicorn()[3:], uvicorn()):
        with served(*command, **app()) as server:
            get(server.port)
            server.stop(number)
        codes.append(server.code)
        assert "Finished server process" in server.text
    assert codes[0] == codes[1]
    assert reports(server.text) == {server.pid: "1 x yula.Loop ran"}


@needs("uvicorn")
@WITH_AND_WITHOUT_UVLOOP
def test_uvicorn_s_workers_serve_on_yula(app, uvloop):
    with served(*uvicorn("--workers", "2"), **app(uvloop)) as server:
        for _ in range(2):
            server.read_until("Application startup complete")
        answer = get(server.port)
        server.stop(signal.SIGTERM)
    assert told(answer) == ["yula"]
    assert str(server.pid) not in answer
    assert [*reports(server.text).values()].count("1 x yula.Loop ran") == 2, server.text


@needs("uvicorn")
@WITH_AND_WITHOUT_UVLOOP
def test_uvicorn_s_reloader_serves_on_yula_before_and_after(app, tmp_path, uvloop):
    with served(*uvicorn("--reload"), **app(uvloop)) as server:
        first = second = get(server.port)
        again = ASGI.replace("tell().encode()", "tell().encode() + b' again'")
        while "again" not in second:
            # More than once: a change before the reloader has looked around goes unseen.
            (tmp_path / "new").write_text(again)
            (tmp_path / "new").replace(tmp_path / "app.py")
            second = get(server.port)
        server.stop(signal.SIGINT)
    assert told(first) == told(second) == ["yula"]
    assert "again" not in first


@needs("uvicorn")
@WITH_AND_WITHOUT_UVLOOP
@pytest.mark.parametrize("start", ["uvicorn.run(app, port=0)", "asyncio.run(server.serve())"])
def test_uvicorn_started_by_a_program_serves_on_yula(app, tmp_path, start, uvloop):
    text = "\nimport uvicorn\nserver = uvicorn.Server(uvicorn.Config(app, port=0))\n" + start
    (tmp_path / "main.py").write_text(ASGI + text)
    with served(*YULA, "main.py", **app(uvloop)) as server:
        assert told(get(server.port)) == ["yula"]
        server.stop()


@needs("uvicorn", "uvloop")
def test_uvicorn_serves_on_uvloop_if_that_is_kept(app):
    command = (*YULA, "--keep", "uvloop", "-m", "uvicorn", "app:app", "--port", "0")
    with served(*command, **app()) as server:
        assert told(get(server.port)) == ["uvloop"]
        server.stop()


# --- others --------------------------------------------------------------------------------------


@needs("aiohttp")
@WITH_AND_WITHOUT_UVLOOP
def test_aiohttp_serves_on_yula(app, tmp_path, uvloop):
    text = """
from aiohttp import web
async def index(request): return web.Response(text=tell())
app = web.Application()
app.router.add_get("/", index)
web.run_app(app, host="127.0.0.1", port=0)
"""
    (tmp_path / "main.py").write_text(TELL + text)
    with served(*YULA, "--report", "main.py", **app(uvloop)) as server:
        assert told(get(server.port)) == ["yula"]
        server.stop()
    assert server.code == 0
    assert reports(server.text) == {server.pid: "1 x yula.Loop ran"}


@needs("hypercorn")
@WITH_AND_WITHOUT_UVLOOP
@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_hypercorn_serves_on_yula(app, kind, workers, uvloop):
    if kind == "uvloop" and not uvloop:
        pytest.skip("hypercorn refuses this worker class without uvloop")
    command = (*YULA, "-m", "hypercorn", "app:app", "--bind", "127.0.0.1:0")
    with served(*command, "-k", kind, "-w", workers, **app(uvloop)) as server:
        assert told(get(server.port)) == ["yula"]
        server.stop(signal.SIGTERM)


@needs("gunicorn", "uvicorn")
@WITH_AND_WITHOUT_UVLOOP
@pytest.mark.parametrize("worker", ["uvicorn.workers.UvicornWorker", "asgi"])
def test_gunicorn_s_worker_serves_on_yula(app, worker, uvloop):
    command = (*YULA, "-m", "gunicorn", "app:app", "--bind", "127.0.0.1:0")
    with served(*command, "--worker-class", worker, **app(uvloop)) as server:
        answer = get(server.port)
        server.stop(signal.SIGTERM)
    assert told(answer) == ["yula"]
    assert str(server.pid) not in answer
