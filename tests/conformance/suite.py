"""What to run: the tests of CPython's own asyncio suite, with another event loop put in.

Every test of `test.test_asyncio` is one of:

  A   a test of a class that the suite itself derives once per selector or per loop, by overriding
      `create_event_loop` or `new_loop`: EventLoopTestsMixin, SubprocessTestsMixin, BaseSockTestsMixin,
      SendfileTestsBase, BaseStartServer, BaseTestBufferedProtocol, BaseStartTLS.
  B   any other test that gets its loop from the default factory: asyncio.run, Runner,
      new_event_loop, IsolatedAsyncioTestCase, asyncio.EventLoop.
  C   any other test that names the class asyncio.SelectorEventLoop.
  -   a white-box test that builds a loop of its own (a mock, BaseEventLoop, TestLoop ...) or none: it says
      nothing about another loop and is counted as not applicable.

A is read from the classes; B, C and - are only known after a test has run, by counting who
was constructed. So nothing here lists tests by name, and a new CPython brings its new tests along.
"""

import asyncio
import importlib
import os
import pkgutil
import sys
import unittest
from dataclasses import dataclass

PACKAGE = "test.test_asyncio"

# The suite repeats its mixins for each of these; once is enough for a loop that has no selector.
OTHER_SELECTORS = {"SelectSelector", "PollSelector", "DevpollSelector"}


class SuiteMissing(Exception):
    """This interpreter came without its test suite."""


class _Counting(type):
    """A stand-in for a loop class: calling it counts, and returns exactly the loop under test.

    A subclass of the loop would do to count, but it would not be the type that users run.
    """

    def __call__(cls, selector=None):
        cls.constructed += 1
        return cls.loop_class()

    def __instancecheck__(cls, instance):
        return isinstance(instance, cls.loop_class)

    def __subclasscheck__(cls, subclass):
        return issubclass(subclass, cls.loop_class)


class DefaultLoop(metaclass=_Counting):
    """Takes the place of the default loop factory (set B)."""

    constructed = 0
    loop_class = None


class NamedLoop(metaclass=_Counting):
    """Takes the place of asyncio.SelectorEventLoop (sets A and C)."""

    constructed = 0
    loop_class = None


def substitute(loop_class):
    """Put `loop_class` in. Call it before a test module is imported: they copy names."""
    DefaultLoop.loop_class = NamedLoop.loop_class = loop_class
    asyncio.SelectorEventLoop = NamedLoop
    if hasattr(asyncio, "EventLoop"):  # 3.13
        asyncio.EventLoop = DefaultLoop
    # The class and not an instance of it: tests reset the policy and get a new one.
    asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory = DefaultLoop


@dataclass
class Test:
    id: str  # test_events.EPollEventLoopTests.test_run_forever
    case: unittest.TestCase
    in_mixin: bool  # set A
    timeout: float = 60.0

    @property
    def module(self):
        return self.id.partition(".")[0]


def module_names():
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as err:
        raise SuiteMissing from err
    except unittest.SkipTest as err:
        raise SuiteMissing(str(err)) from err
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(name for name in found if name.startswith("test_"))


def load(names):
    """Import the modules. Returns the tests, and {module: reason} for those that skip themselves."""
    if not little_memory():
        # From 3.13 on two TLS tests ask for 2.2 GB, of which they use a tenth.
        importlib.import_module("test.support").set_memlimit("3G")
    tests, skipped = [], {}
    for name in names:
        try:
            module = importlib.import_module(f"{PACKAGE}.{name}")
        except unittest.SkipTest as err:
            skipped[name] = str(err)
            continue
        for case in _flatten(unittest.defaultTestLoader.loadTestsFromModule(module)):
            maker = _loop_maker(type(case))
            if maker & OTHER_SELECTORS:
                continue
            tests.append(Test(case.id().removeprefix(PACKAGE + "."), case, bool(maker)))
    return tests, skipped


def _loop_maker(cls):
    """The names that a class's own loop-making method uses, if it makes asyncio's selector loop."""
    for method in ("create_event_loop", "new_loop"):
        if method in vars(cls):
            names = set(vars(cls)[method].__code__.co_names)
            if "SelectorEventLoop" in names:
                return names
    return set()


def _flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item


def little_memory():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 4 * 10**9


def missing_message():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{sys.executable} (Python {version}) has no {PACKAGE}: its standard library came without the tests.\n"
        f"On Debian they are the package libpython{version}-testsuite; "
        f"tools/interpreters sets up interpreters that have them."
    )
