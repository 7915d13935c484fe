"""yula.Loop: the C loop with the connection set-up of the running interpreter's asyncio.

What runs for every callback, packet or await is in yula._core. What runs once for a connection,
a server or a child process is asyncio's own, inherited, so that its keyword arguments and its fixes
arrive with the interpreter. This file joins the two.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import selectors
import signal
import socket
import sys
import threading
import weakref
from asyncio import base_events, base_subprocess, unix_events

from . import _core, failure
from .tls import SSLProtocol, with_our_protocol

if sys.version_info < (3, 14):
    from . import child

TYPE_CHECKING = False  # importing typing would cost a third of our import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVarTuple

    _Ts = TypeVarTuple("_Ts")

_getaddrinfo = socket.getaddrinfo
_getnameinfo = socket.getnameinfo
_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


class _WatchedDescriptors:
    """What asyncio's methods get for a selector: a view of what is watched in C."""

    def __init__(self, loop: Loop) -> None:
        self._loop = weakref.proxy(loop)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The events of add_reader() and add_writer(). KeyError if there are none."""
        fd, events = self._loop._watched_events(fileobj)
        if not events:
            raise KeyError(f"{fileobj!r} is not registered")
        return selectors.SelectorKey(fileobj, fd, events, None)

    def close(self) -> None:
        pass


class _WakeupDescriptor:
    """What asyncio's methods get for the writing end of their self-pipe."""

    def __init__(self, loop: Loop) -> None:
        self._loop = weakref.proxy(loop)

    def fileno(self) -> int:
        fd: int = self._loop._signal_wakeup_fd()
        return fd


class _Clients:
    """What a Server (from Python 3.13 on) gets for its weak set of open transports.

    The loop knows them anyway, and counting is a tenth of what the set takes of a connection's
    time, and 150 bytes less of its memory.
    """

    def __init__(self, loop: Loop, server: Any) -> None:
        self._loop = weakref.proxy(loop)
        self._server = weakref.ref(server)
        self._count = 0

    def add(self, transport: Any) -> None:
        self._count += 1

    def discard(self, transport: Any) -> None:
        self._count -= 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Any:
        return iter(self.copy())

    def copy(self) -> list[Any]:
        transports: list[Any] = self._loop._transports_of(self._server())
        return transports


class Loop(_core.LoopBase, unix_events._UnixSelectorEventLoop):
    """An asyncio event loop. See https://docs.python.org/3/library/asyncio-eventloop.html."""

    def __init__(self, *, gil_spin: float | None = None, gil_share: float | None = None) -> None:
        """Make a loop.

        gil_spin   seconds to poll at most before the loop gives the interpreter lock up to sleep,
                   while other threads want it; 0 never polls. None: what the environment variable
                   YULA_GIL_SPIN says, or 0.0005.
        gil_share  the part of the lock's time that the loop takes while other threads want it,
                   above 0 and at most 1. None: YULA_GIL_SHARE, or 0.6.

        Both cost nothing while no other thread computes in Python. See docs/gil.md.
        """
        super().__init__(_WatchedDescriptors(self))  # type: ignore[arg-type]
        self._wakeup_fd_is_ours = False
        self._children: set[Any] = set()  # that are waited for, before 3.14
        try:
            self._set_up_gil("gil_spin", gil_spin)
            self._set_up_gil("gil_share", gil_share)
        except BaseException:
            self.close()
            raise
        _loops.add(self)

    def _set_up_gil(self, name: str, value: float | None) -> None:
        if value is not None:
            setattr(self, name, value)
            return
        variable = f"YULA_{name.upper()}"
        text = os.environ.get(variable)
        if not text:
            return
        try:
            setattr(self, name, float(text))
        except ValueError as error:
            raise ValueError(f"environment variable {variable}: {error}") from None

    def _make_self_pipe(self) -> None:
        self._csock: Any = _WakeupDescriptor(self)
        self._ssock: Any = self._csock
        self._internal_fds += 1

    def _close_self_pipe(self) -> None:
        self._csock = self._ssock = None
        self._internal_fds -= 1

    # --- running ---------------------------------------------------------------------------

    if sys.version_info >= (3, 13):

        def run_forever(self) -> None:
            """Run until stop() is called."""
            self._run_forever_setup()  # refuses to nest: then nothing may be cleaned up
            try:
                self._acquire_wakeup_fd()
                self._run()
            finally:
                self._release_wakeup_fd()
                self._run_forever_cleanup()

    else:

        def run_forever(self) -> None:
            """Run until stop() is called."""
            self._check_closed()
            self._check_running()
            self._set_coroutine_origin_tracking(self._debug)
            hooks = sys.get_asyncgen_hooks()
            try:
                self._thread_id = threading.get_ident()
                sys.set_asyncgen_hooks(
                    firstiter=self._asyncgen_firstiter_hook,
                    finalizer=self._asyncgen_finalizer_hook,
                )
                asyncio.events._set_running_loop(self)
                self._acquire_wakeup_fd()
                self._run()
            finally:
                self._release_wakeup_fd()
                self._stopping = False
                self._thread_id = None
                asyncio.events._set_running_loop(None)
                self._set_coroutine_origin_tracking(False)
                sys.set_asyncgen_hooks(*hooks)

    _run_debug = failure.run_debug

    def close(self) -> None:
        """Close the loop. Does nothing if it is closed."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        for waited_for in list(self._children):
            waited_for.forget()
        # Takes the signal handlers back, closes the executor, marks the loop closed.
        super().close()
        self._release_wakeup_fd()
        self._close_core()
        _loops.discard(self)

    # --- signals ---------------------------------------------------------------------------
    # A signal that comes between the last check for it and the sleep must end the sleep. Only
    # Python's wake-up descriptor does that, so a loop on the main thread owns it while it runs,
    # unless somebody else does.

    def _acquire_wakeup_fd(self) -> None:
        if self._wakeup_fd_is_ours or threading.current_thread() is not threading.main_thread():
            return
        ours = self._signal_wakeup_fd()
        try:
            before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        except ValueError:
            return  # the main thread of a subinterpreter
        if before in (-1, ours):
            self._wakeup_fd_is_ours = True
        else:
            signal.set_wakeup_fd(before)

    def _release_wakeup_fd(self) -> None:
        if not self._wakeup_fd_is_ours or self._signal_handlers:
            return
        self._wakeup_fd_is_ours = False
        if self.is_closed() or threading.current_thread() is not threading.main_thread():
            ours = -1
        else:
            ours = self._signal_wakeup_fd()
        try:
            before = signal.set_wakeup_fd(-1)
        except ValueError:
            return  # the loop moved to another thread
        if ours not in (-1, before):
            signal.set_wakeup_fd(before)  # somebody replaced it

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """Call callback(*args) on the loop whenever the signal arrives. Main thread only."""
        try:
            super().add_signal_handler(sig, callback, *args)
        finally:
            self._signal_handlers_changed()

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove a handler. Returns whether there was one."""
        try:
            return super().remove_signal_handler(sig)
        finally:
            self._signal_handlers_changed()

    def _signal_handlers_changed(self) -> None:
        """asyncio has set the wake-up descriptor, or taken it away with the last handler."""
        self._wakeup_fd_is_ours = bool(self._signal_handlers)
        if self.is_running():
            self._acquire_wakeup_fd()

    def _add_callback_signalsafe(self, handle: Any) -> None:
        self.call_soon(handle._callback, *handle._args, context=handle._context)

    # --- connections -----------------------------------------------------------------------

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        tls = None
        if sslcontext is not None:
            tls = (sslcontext, ssl_handshake_timeout, ssl_shutdown_timeout)
        if context is None:
            context = contextvars.copy_context()
        clients = getattr(server, "_clients", None)
        if type(clients) is weakref.WeakSet and not clients:
            server._clients = _Clients(self, server)
        self._listen(sock, protocol_factory, server, context, tls)

    def _stop_serving(self, sock: socket.socket) -> None:
        self._unlisten(sock)
        # Closes it, and from 3.13 on removes a Unix socket's file.
        super()._stop_serving(sock)

    def _accept_tls(self, fd: int, peername: Any, tls: Any, factory: Any, server: Any) -> None:
        """A connection for a server with TLS; the handshake is asyncio's."""
        sslcontext, handshake_timeout, shutdown_timeout = tls
        conn = socket.socket(fileno=fd)
        context = contextvars.copy_context()
        kwargs: dict[str, Any] = {}
        if sys.version_info >= (3, 15):
            kwargs["context"] = context
        accept = self._accept_connection2(
            factory,
            conn,
            {"peername": peername},
            sslcontext,
            server,
            handshake_timeout,
            shutdown_timeout,
            **kwargs,
        )
        self.create_task(accept, context=context)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        ssl_protocol = SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, **kwargs)
        return ssl_protocol._app_transport

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: Any,
        address: Any = None,
        waiter: Any = None,
        extra: Any = None,
    ) -> Any:
        # Of other families, and of a subclass of socket, asyncio's own makes more.
        if (
            type(sock) is socket.socket
            and sock.type == socket.SOCK_DGRAM
            and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        ):
            return self._make_datagram(sock, protocol, address, waiter, extra)
        return super()._make_datagram_transport(  # type: ignore[misc]
            sock, protocol, address, waiter, extra
        )

    @staticmethod
    def _datagram_address(sock: socket.socket, address: Any) -> Any:
        """The address of a host by name, as sock.sendto() looks it up."""
        host, port = address[:2]
        return socket.getaddrinfo(host or "0.0.0.0", port, sock.family, sock.type)[0][4]

    start_tls = with_our_protocol(base_events.BaseEventLoop.start_tls)

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        if not isinstance(transp, _core.StreamTransport):
            sent: int = await super()._sendfile_native(transp, file, offset, count)
            return sent
        reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        try:
            # The descriptor is the transport's; a duplicate is a socket of its own.
            with transp._sock._sock.dup() as sock:
                sock.setblocking(False)
                return await self.sock_sendfile(sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if reading:
                transp.resume_reading()

    # --- child processes -------------------------------------------------------------------

    if sys.version_info < (3, 14):

        async def _make_subprocess_transport(
            self,
            protocol: Any,
            args: Any,
            shell: bool,
            stdin: Any,
            stdout: Any,
            stderr: Any,
            bufsize: int,
            extra: Any = None,
            **kwargs: Any,
        ) -> Any:
            if child.is_watched_by_others():
                return await super()._make_subprocess_transport(  # type: ignore[misc]
                    protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
                )
            waiter = self.create_future()
            transport: Any = unix_events._UnixSubprocessTransport(  # type: ignore[attr-defined]
                self,
                protocol,
                args,
                shell,
                stdin,
                stdout,
                stderr,
                bufsize,
                waiter=waiter,
                extra=extra,
                **kwargs,
            )
            child.Child(self, transport)
            try:
                await waiter
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
            return transport

    @staticmethod
    def _reader_behind(protocol: Any) -> asyncio.StreamReader | None:
        """The StreamReader in which a pipe's data ends, if all on the way is asyncio's."""
        reader: asyncio.StreamReader | None = None
        if type(protocol) is base_subprocess.ReadSubprocessPipeProto:
            owner: Any = protocol.proc._protocol  # type: ignore[attr-defined]
            if type(owner) is asyncio.subprocess.SubprocessStreamProtocol:
                fd: int = protocol.fd  # type: ignore[attr-defined]
                reader = owner.stdout if fd == 1 else owner.stderr
        elif type(protocol) is asyncio.StreamReaderProtocol:
            reader = protocol._stream_reader  # type: ignore[attr-defined]
        return reader

    # --- names -------------------------------------------------------------------------------
    # Somebody who replaced socket.getaddrinfo wants it to be called; so does debug mode, which
    # times it.

    async def _look_up(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """What getaddrinfo() is, but for the literals that are answered in C."""
        found = None
        if not self._debug and base_events.socket.getaddrinfo is _getaddrinfo:  # type: ignore[attr-defined]
            found = self._getaddrinfo(host, port, family, type, proto, flags)
        if found is None:
            return await unix_events._UnixSelectorEventLoop.getaddrinfo(
                self, host, port, family=family, type=type, proto=proto, flags=flags
            )
        return found if isinstance(found, list) else await found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """socket.getnameinfo(), on a worker thread of the loop."""
        found = None
        if base_events.socket.getnameinfo is _getnameinfo:  # type: ignore[attr-defined]
            found = self._getnameinfo(sockaddr, flags)
        return await (super().getnameinfo(sockaddr, flags) if found is None else found)


def _after_fork_in_child() -> None:
    for loop in list(_loops):
        if loop._wakeup_fd_is_ours:
            signal.set_wakeup_fd(-1)
            loop._wakeup_fd_is_ours = False
        loop._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_core.retire_switch_interval)
