"""The services of the tests end with the session that started them, however that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import services

PROGRAM = """
import sys, time
sys.path.insert(0, {path!r})
import services
with services.{name}() as service:
    print(service.process.pid, service.folder, flush=True)
    while True:  # Python 3.14 can miss a signal that comes just before a long sleep
        time.sleep(0.01)
"""


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ["Postgres", "Redis"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_service_ends_when_its_session_is_interrupted_or_killed(name, how, wait_until):
    program = PROGRAM.format(name=name, path=str(Path(services.__file__).parent))
    command = [sys.executable, "-c", program]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=quiet, text=True) as session:
        pid, folder = session.stdout.readline().split()
        assert is_running(int(pid))
        session.send_signal(how)
        session.wait()
    wait_until(lambda: not is_running(int(pid)))
    if how is signal.SIGINT:
        assert not Path(folder).exists()
    else:
        services.shutil.rmtree(folder)


def test_a_missing_program_names_the_package_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(services.MissingService, match="apt-get install redis-server"):
        services.Redis().__enter__()
