"""Importing yula is cheap, changes nothing, and warns of nothing."""

import pytest
from programs import execute

import yula

NEW_MODULES = """
import asyncio, sys
before = set(sys.modules)
import yula
print(*sorted(set(sys.modules) - before))
"""

CHANGED_IN_ASYNCIO = """
import asyncio, sys
modules = [m for n, m in sys.modules.items() if n.split(".")[0] in ("asyncio", "_asyncio")]
def everything():
    for module in modules:
        for name, value in vars(module).items():
            yield (module.__name__, name), value
            if isinstance(value, type) and "asyncio" in value.__module__:
                for inner, attribute in vars(value).items():
                    yield (module.__name__, name, inner), attribute
before = dict(everything())
import yula
after = dict(everything())
print(len(before) > 1000, [key for key in before | after if before.get(key) is not after.get(key)])
"""


def test_importing_yula_loads_nothing_but_asyncio_and_itself(tmp_path):
    # The budget of the import is time; what costs time is other modules.
    done = execute("-c", NEW_MODULES, cwd=tmp_path)
    assert done.code == 0, done.err
    new = set(done.out.split())
    assert "yula.loop" in new
    assert {name for name in new if name.split(".")[0] != "yula"} <= {"__future__"}
    assert {name for name in new if name.startswith(("yula.cli", "yula.policy"))} == set()


def test_importing_yula_replaces_nothing_in_asyncio(tmp_path):
    done = execute("-c", CHANGED_IN_ASYNCIO, cwd=tmp_path)
    assert done.out == "True []\n", done


@pytest.mark.parametrize("statement", ["import yula", "from yula import *", "import yula.cli"])
def test_importing_yula_warns_of_nothing(tmp_path, statement):
    assert execute("-W", "error", "-c", statement, cwd=tmp_path) == (0, "", "")


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="module 'yula' has no attribute 'lopp'"):
        yula.lopp  # noqa: B018


def test_every_public_name_is_there():
    for name in yula.__all__:
        assert name in dir(yula)
        assert getattr(yula, name) is not None
