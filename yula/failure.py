"""What happens when a callback or a protocol fails: the reports that asyncio makes.

Called from C, on the failure path only, in the words of asyncio's own modules.
"""

from __future__ import annotations

import errno
import warnings
from asyncio import base_events, format_helpers, futures, transports
from asyncio.log import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import socket
    from typing import Any

    from .loop import Loop


def handle_failed(loop: Loop, handle: Any, exc: BaseException) -> None:
    """As the end of asyncio.Handle._run."""
    source = format_helpers._format_callback_source(handle._callback, handle._args)
    context: dict[str, Any] = {
        "message": f"Exception in callback {source}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


def native_failed(loop: Loop, exc: BaseException) -> None:
    """A C extension's callback left an exception (yula/python.h)."""
    loop.call_exception_handler({"message": "Exception in C code", "exception": exc})


def protocol_failed(
    loop: Loop,
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
    exc: BaseException,
    message: str,
) -> None:
    """A protocol method failed that leaves the transport open."""
    loop.call_exception_handler(
        {
            "message": message,
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def fatal_error(transport: Any, exc: BaseException, message: str) -> None:
    """As _SelectorTransport._fatal_error; the caller closes the transport."""
    _tell_fatal(transport, exc, message, usual=isinstance(exc, OSError))


def pipe_failed(transport: Any, exc: BaseException, message: str) -> None:
    """As _fatal_error of asyncio's pipe transports; the caller closes the transport."""
    writing = isinstance(transport, transports.WriteTransport)
    # A terminal that hangs up is EIO to its reader.
    usual = isinstance(exc, OSError) and (writing or exc.errno == errno.EIO)
    _tell_fatal(transport, exc, message, usual=usual)


def _tell_fatal(transport: Any, exc: BaseException, message: str, *, usual: bool) -> None:
    loop = transport._loop
    if usual:
        if loop.get_debug():
            logger.debug("%r: %s", transport, message, exc_info=exc)
        return
    loop.call_exception_handler(
        {
            "message": message,
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


def warn_lost_write() -> None:
    logger.warning("socket.send() raised exception.")


def pipe_closed_by_peer(transport: Any) -> None:
    logger.info("%r was closed by peer", transport)


def warn_lost_pipe_write() -> None:
    logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")


def accept_failed(loop: Loop, exc: BaseException, protocol: asyncio.BaseProtocol | None) -> None:
    """The protocol factory, or the transport of an accepted connection, failed.

    asyncio reports it in debug mode only (_accept_connection2).
    """
    if not loop.get_debug():
        return
    context: dict[str, Any] = {
        "message": "Error on transport creation for incoming connection",
        "exception": exc,
    }
    if protocol is not None:
        context["protocol"] = protocol
    loop.call_exception_handler(context)


def out_of_resources(loop: Loop, exc: OSError, sock: socket.socket) -> None:
    """accept() failed; out of descriptors or memory the listener pauses by itself."""
    from asyncio import trsock

    short = exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
    loop.call_exception_handler(
        {
            "message": "socket.accept() out of system resource"
            if short
            else "socket.accept() failed",
            "exception": exc,
            "socket": trsock.TransportSocket(sock),
        }
    )


def transport_unclosed(transport: Any) -> None:
    warnings.warn(
        f"unclosed transport {transport!r}", ResourceWarning, stacklevel=2, source=transport
    )


def run_debug(loop: Loop, handle: asyncio.Handle) -> None:
    """Run one handle in debug mode: as the end of BaseEventLoop._run_once."""
    try:
        loop._current_handle = handle
        begin = loop.time()
        handle._run()
        taken = loop.time() - begin
        if taken >= loop.slow_callback_duration:
            text = base_events._format_handle(handle)  # type: ignore[attr-defined]
            base_events.logger.warning(  # type: ignore[attr-defined]
                "Executing %s took %.3f seconds", text, taken
            )
    finally:
        loop._current_handle = None
        # A traceback that somebody keeps holds this frame: not the handle with it.
        del handle


def executor_failed(future: asyncio.Future[Any], exc: BaseException) -> None:
    """A function on a worker raised: as the end of asyncio.futures._copy_future_state."""
    if future.done():
        return
    if isinstance(exc, StopIteration):  # as Python 3.12; before, it was waited for without end
        error = RuntimeError(
            "StopIteration interacts badly with generators and cannot be raised into a Future"
        )
        error.__cause__ = error.__context__ = exc
        exc = error
    future.set_exception(futures._convert_future_exc(exc))  # type: ignore[attr-defined]


def slow_call(transport: Any, method: str, taken: float) -> None:
    """Debug mode: a method of the protocol returned after so many seconds."""
    loop = transport._loop
    if taken >= loop.slow_callback_duration:
        base_events.logger.warning(  # type: ignore[attr-defined]
            "Executing %s.%s() of %s took %.3f seconds",
            type(transport.get_protocol()).__qualname__,
            method,
            repr(transport),  # a log that keeps its records does not keep the transport
            taken,
        )
