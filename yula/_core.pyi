# The C half of yula (src/ext). Private: programs use the package, and this file is for type
# checkers and for readers of yula/loop.py.
import asyncio
import socket
from asyncio import transports
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple, final

from _typeshed import FileDescriptorLike, ReadableBuffer, WriteableBuffer

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Address: TypeAlias = Any  # a tuple, or the path of a Unix socket

version: Final[str]
_C_API: Final[object]  # a capsule, see yula/python.h

def retire_switch_interval() -> None: ...

class _AsyncioLoop:
    """Private names of asyncio's loop classes, which typeshed leaves out.

    They are not in _core: yula.Loop has them from asyncio, and yula/loop.py uses them.
    """

    _current_handle: asyncio.Handle | None
    _internal_fds: int
    _signal_handlers: dict[int, asyncio.Handle]

    def _check_closed(self) -> None: ...
    def _check_running(self) -> None: ...
    def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
    def _run_forever_setup(self) -> None: ...  # Python 3.13
    def _run_forever_cleanup(self) -> None: ...  # Python 3.13
    def _accept_connection2(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        conn: socket.socket,
        extra: dict[str, Any],
        sslcontext: Any = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = ...,
        ssl_shutdown_timeout: float | None = ...,
        *,
        context: Context | None = ...,  # Python 3.15
    ) -> Coroutine[Any, Any, None]: ...
    def _stop_serving(self, sock: socket.socket) -> None: ...
    async def _sendfile_native(
        self, transp: Any, file: Any, offset: int, count: int | None
    ) -> int: ...

class LoopBase(_AsyncioLoop):
    """The C half of yula.Loop: all that runs for every callback, timer, event or await."""

    # Attributes that asyncio's methods, and ours in loop.py, read and write.
    _closed: bool
    _debug: bool
    _stopping: bool
    _thread_id: int | None
    _task_factory: Any
    _default_executor: Any
    _executor_shutdown_called: bool

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle: ...
    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle: ...
    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def time(self) -> float: ...
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]: ...
    def stop(self) -> None: ...
    def is_running(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def get_debug(self) -> bool: ...
    gil_spin: float
    gil_share: float
    def stats(self) -> dict[str, Any]: ...

    # --- descriptors: the ones with an underscore take a transport's descriptor too ---
    def add_reader(
        self,
        fd: FileDescriptorLike,
        callback: Callable[[*_Ts], Any],
        *args: *_Ts,
    ) -> None: ...
    def add_writer(
        self,
        fd: FileDescriptorLike,
        callback: Callable[[*_Ts], Any],
        *args: *_Ts,
    ) -> None: ...
    def remove_reader(self, fd: FileDescriptorLike, /) -> bool: ...
    def remove_writer(self, fd: FileDescriptorLike, /) -> bool: ...
    def _add_reader(
        self, fd: FileDescriptorLike, callback: Callable[..., Any], *args: Any
    ) -> asyncio.Handle: ...
    def _add_writer(
        self, fd: FileDescriptorLike, callback: Callable[..., Any], *args: Any
    ) -> asyncio.Handle: ...
    def _remove_reader(self, fd: FileDescriptorLike, /) -> bool: ...
    def _remove_writer(self, fd: FileDescriptorLike, /) -> bool: ...
    def _watched_events(self, fileobj: FileDescriptorLike, /) -> tuple[int, int]: ...
    def _ensure_fd_no_transport(self, fd: FileDescriptorLike, /) -> None: ...
    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: Mapping[str, Any] | None = None,
        server: Any = None,
        context: Context | None = None,
    ) -> StreamTransport: ...
    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ReadPipeTransport: ...
    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> WritePipeTransport: ...
    def _make_datagram(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any,
        waiter: asyncio.Future[None] | None,
        extra: Mapping[str, Any] | None,
        /,
    ) -> DatagramTransport: ...

    # --- sock_*: not coroutines, but awaited like them (docs/compatibility.md) ---
    def sock_recv(self, sock: socket.socket, n: int) -> Coroutine[Any, Any, bytes]: ...
    def sock_recv_into(
        self, sock: socket.socket, buf: WriteableBuffer
    ) -> Coroutine[Any, Any, int]: ...
    def sock_recvfrom(
        self, sock: socket.socket, bufsize: int
    ) -> Coroutine[Any, Any, tuple[bytes, Any]]: ...
    def sock_recvfrom_into(
        self, sock: socket.socket, buf: WriteableBuffer, nbytes: int = 0
    ) -> Coroutine[Any, Any, tuple[int, Any]]: ...
    def sock_sendall(
        self, sock: socket.socket, data: ReadableBuffer
    ) -> Coroutine[Any, Any, None]: ...
    def sock_sendto(
        self, sock: socket.socket, data: ReadableBuffer, address: _Address
    ) -> Coroutine[Any, Any, int]: ...
    def sock_accept(
        self, sock: socket.socket
    ) -> Coroutine[Any, Any, tuple[socket.socket, Any]]: ...
    def sock_connect(self, sock: socket.socket, address: _Address) -> Coroutine[Any, Any, None]: ...
    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Coroutine[Any, Any, list[Any]]: ...

    # --- names: None means that the socket module has to be asked ---
    def _getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int,
        type: int,
        proto: int,
        flags: int,
        /,
    ) -> list[Any] | asyncio.Future[list[Any]] | None: ...
    def _getnameinfo(
        self, sockaddr: Any, flags: int, /
    ) -> asyncio.Future[tuple[str, str]] | None: ...

    # --- servers ---
    def _listen(
        self,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        server: Any,
        context: Context,
        tls: tuple[Any, float | None, float | None] | None,
        /,
    ) -> None: ...
    def _unlisten(self, sock: socket.socket, /) -> bool: ...
    def _transports_of(self, server: object, /) -> list[StreamTransport]: ...

    # --- life ---
    def _run(self) -> None: ...
    def _run_once(self) -> None: ...
    def _make_self_pipe(self) -> None: ...
    def _close_self_pipe(self) -> None: ...
    def _write_to_self(self) -> None: ...
    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle, /) -> None: ...
    def _signal_wakeup_fd(self) -> int: ...
    def _close_core(self) -> None: ...
    def _forked(self) -> None: ...

@final
class WorkQueue:
    """The queue of a LoopExecutor (yula/executor.py), served by the loop's workers."""

    def __new__(cls, loop: LoopBase, max: int, context: Any, /) -> WorkQueue: ...
    def put(self, item: Any, /) -> None: ...
    def get_nowait(self) -> Any: ...
    def qsize(self) -> int: ...
    def is_shut(self) -> bool: ...
    def worker(self) -> Callable[[], None] | None: ...
    def _forked(self) -> None: ...

@final
class ReadPipeTransport(asyncio.ReadTransport):
    """The reading end of a pipe, a terminal or a socket. Made by the loop only."""

    _extra: dict[str, Any]
    _pipe: Any  # the file object; None once it is closed

    @property
    def _loop(self) -> asyncio.AbstractEventLoop | None: ...
    @property
    def _protocol(self) -> asyncio.BaseProtocol | None: ...
    @property
    def _fileno(self) -> int: ...
    @property
    def _paused(self) -> bool: ...
    @property
    def _closing(self) -> bool: ...

@final
class WritePipeTransport(transports._FlowControlMixin):
    """The writing end of a pipe, a terminal or a socket. Made by the loop only."""

    _extra: dict[str, Any]
    _pipe: Any  # the file object; None once it is closed

    @property
    def _loop(self) -> asyncio.AbstractEventLoop | None: ...
    @property
    def _protocol(self) -> asyncio.BaseProtocol | None: ...
    @property
    def _fileno(self) -> int: ...
    @property
    def _conn_lost(self) -> int: ...
    @property
    def _closing(self) -> bool: ...
    @property
    def _protocol_paused(self) -> bool: ...
    def write(self, data: ReadableBuffer, /) -> None: ...

@final
class DatagramTransport(transports._FlowControlMixin, asyncio.DatagramTransport):
    """The transport of a UDP or Unix datagram socket. Made by the loop only."""

    _extra: dict[str, Any]

    @property
    def _loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def _protocol(self) -> asyncio.BaseProtocol | None: ...
    @property
    def _address(self) -> Any: ...
    @property
    def _paused(self) -> bool: ...
    @property
    def _closing(self) -> bool: ...
    @property
    def _protocol_paused(self) -> bool: ...
    @property
    def _sock(self) -> socket.socket | None: ...
    @property
    def _sock_fd(self) -> int: ...
    def _force_close(self, exc: BaseException | None, /) -> None: ...

class TLSProtocolBase:
    """The C half of yula.tls.SSLProtocol: asyncio's attributes of the same names."""

    _loop: Any
    _state: Any
    _transport: Any
    _app_protocol: Any
    _app_protocol_is_buffer: Any
    _app_protocol_get_buffer: Any
    _app_protocol_buffer_updated: Any
    _sslobj: Any
    _incoming: Any
    _outgoing: Any
    _write_backlog: Any
    _write_buffer_size: Any
    _app_reading_paused: Any
    _app_writing_paused: Any
    _ssl_reading_paused: Any
    _ssl_writing_paused: Any
    _incoming_high_water: Any
    _outgoing_high_water: Any

    @property
    def _engine(self) -> str | None: ...
    def _begin(self, engine: str, /) -> None: ...
    # asyncio's, which typeshed leaves out.
    def _get_read_buffer_size(self) -> int: ...
    def _do_read(self) -> None: ...
    def _call_eof_received(self) -> None: ...

class TLSTransportBase(transports._FlowControlMixin):
    """The C half of yula.tls.SSLTransport."""

    _closed: Any
    _ssl_protocol: Any

    def write(self, data: ReadableBuffer, /) -> None: ...
    def writelines(self, list_of_data: Iterable[ReadableBuffer], /) -> None: ...

class StreamTransport(transports._FlowControlMixin):
    """The transport of a TCP or Unix stream connection. Made by the loop only."""

    _start_tls_compatible: bool
    _sendfile_compatible: Any
    _extra: dict[str, Any]

    @property
    def _loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def _protocol(self) -> asyncio.BaseProtocol | None: ...
    @property
    def _server(self) -> Any: ...
    @property
    def _paused(self) -> bool: ...
    @property
    def _closing(self) -> bool: ...
    @property
    def _eof(self) -> bool: ...
    @property
    def _protocol_paused(self) -> bool: ...
    @property
    def _sock(self) -> Any: ...  # a TransportSocket; None after the end
    @property
    def _sock_fd(self) -> int: ...
    def write(self, data: ReadableBuffer, /) -> None: ...
    def writelines(self, list_of_data: Iterable[ReadableBuffer], /) -> None: ...
    def _force_close(self, exc: BaseException | None, /) -> None: ...
    def _fatal_error(self, exc: BaseException, message: str = ..., /) -> None: ...
    def _make_empty_waiter(self) -> asyncio.Future[None]: ...
    def _reset_empty_waiter(self) -> None: ...
