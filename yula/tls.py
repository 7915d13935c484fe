"""TLS connections: asyncio's state machine, with the records in C.

The classes are asyncio's own with a C type beside them, which holds their attributes and does the
work while a connection does nothing but send and receive: see src/ext/tls.h.
"""

from __future__ import annotations

import os
import types
from asyncio import sslproto

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENGINES = ("direct", "method", "asyncio")


def engine_wanted() -> str:
    """What YULA_TLS_ENGINE says; without it the best there is."""
    wanted = os.environ.get("YULA_TLS_ENGINE") or "direct"
    if wanted not in ENGINES:
        raise ValueError(f"environment variable YULA_TLS_ENGINE: {wanted!r} is none of {ENGINES}")
    return wanted


class SSLTransport(_core.TLSTransportBase, sslproto._SSLProtocolTransport):
    """The transport that an application sees."""


class SSLProtocol(_core.TLSProtocolBase, sslproto.SSLProtocol):
    """The protocol of the transport below."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._begin(engine_wanted())
        # asyncio's __init__ makes a receive buffer of this size. Ours is the loop's; get_buffer()
        # makes one if it is ever called.
        self.max_size = 0  # type: ignore[misc]
        try:
            super().__init__(*args, **kwargs)
        finally:
            del self.max_size

    def _get_app_transport(self) -> Any:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def _do_read__buffered(self) -> None:
        """asyncio's, which loses data if get_buffer() gives a bytearray: its slices are copies."""
        offset, count = 0, 1
        buffer = self._app_protocol_get_buffer(self._get_read_buffer_size())
        # Released before user code runs, which may resize what it gave.
        with memoryview(buffer) as view:
            try:
                while count > 0 and offset < len(view):
                    with view[offset:] as rest:
                        count = self._sslobj.read(len(rest), rest)
                    offset += count
            except sslproto.SSLAgainErrors:
                pass
            else:
                if count > 0:
                    self._loop.call_soon(self._do_read)
        if offset > 0:
            self._app_protocol_buffer_updated(offset)
        if not count:  # close_notify
            self._call_eof_received()
            self._start_shutdown()


def with_our_protocol(method: Any) -> Any:
    """The method of asyncio's, making an SSLProtocol of ours where it makes one of asyncio's.

    start_tls() changes with the interpreter (3.13.11: what a StreamReader has received already is
    handed on), so it is not written again here.
    """
    names = {**method.__globals__, "sslproto": types.SimpleNamespace(SSLProtocol=SSLProtocol)}
    ours = types.FunctionType(method.__code__, names, method.__name__, method.__defaults__)
    ours.__kwdefaults__ = method.__kwdefaults__
    ours.__doc__ = method.__doc__
    return ours
