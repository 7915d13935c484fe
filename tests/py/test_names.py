"""getaddrinfo and getnameinfo: as the socket module answers."""

import asyncio
import gc
import socket

import pytest

LITERALS = [
    ("127.0.0.1", 80),
    ("127.0.0.1", "80"),
    ("127.0.0.1", b"80"),
    (b"127.0.0.1", 80),
    ("127.0.0.1", None),
    ("127.0.0.1", "http"),
    ("127.1", 80),
    ("0x7f.1", 80),
    ("2130706433", 80),
    ("::1", 80),
    ("::ffff:127.0.0.1", 80),
    ("fe80::1%lo", 80),
    (None, 80),
    ("", 80),
    ("localhost", 80),
    ("127.0.0.1", 0),
    ("127.0.0.1", 65535),
]


def same_answer(loop, host, port, **kwargs):
    """The loop and the socket module either return the same or raise the same."""
    try:
        expected = socket.getaddrinfo(host, port, **kwargs)
    except (OSError, OverflowError, UnicodeError, TypeError) as exc:
        with pytest.raises(type(exc)) as caught:
            loop.run_until_complete(loop.getaddrinfo(host, port, **kwargs))
        if isinstance(exc, socket.gaierror):
            assert caught.value.errno == exc.errno
        return
    assert loop.run_until_complete(loop.getaddrinfo(host, port, **kwargs)) == expected


@pytest.mark.parametrize("host, port", LITERALS)
def test_names_and_literals_resolve_as_in_the_socket_module(loop, host, port):
    same_answer(loop, host, port)
    same_answer(loop, host, port, type=socket.SOCK_STREAM)
    same_answer(loop, host, port, type=socket.SOCK_DGRAM)
    same_answer(loop, host, port, family=socket.AF_INET)
    same_answer(loop, host, port, family=socket.AF_INET6, type=socket.SOCK_STREAM)
    same_answer(loop, host, port, proto=socket.IPPROTO_TCP)
    same_answer(loop, host, port, flags=socket.AI_PASSIVE, type=socket.SOCK_STREAM)
    same_answer(loop, host, port, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    same_answer(loop, host, port, flags=socket.AI_CANONNAME, type=socket.SOCK_STREAM)


@pytest.mark.parametrize(
    "host, port",
    [
        ("256.0.0.1", 80),
        ("1.2.3.4.5", 80),
        (":::1", 80),
        ("fe80::1%nosuchinterface", 80),
        ("127.0.0.1", "no-such-service"),
        ("127.0.0.1", "99999999999999999999"),
        ("127.0.0.1", 1 << 80),
        ("a\0b", 80),
        ("." * 300, 80),
        (None, None),
    ],
)
def test_what_cannot_be_resolved_fails_as_in_the_socket_module(loop, host, port):
    same_answer(loop, host, port, flags=socket.AI_NUMERICHOST)


@pytest.mark.parametrize("host, port", [(5, 80), ([], 80), ("127.0.0.1", 1.5), ("127.0.0.1", [])])
def test_arguments_of_the_wrong_type_fail_as_in_the_socket_module(loop, host, port):
    same_answer(loop, host, port)


def test_a_family_that_does_not_fit_the_literal_is_a_gaierror(loop):
    same_answer(loop, "127.0.0.1", 80, family=socket.AF_INET6)
    same_answer(loop, "::1", 80, family=socket.AF_INET)


def test_a_socket_type_without_a_match_fails_as_in_the_socket_module(loop):
    same_answer(loop, "127.0.0.1", 80, type=socket.SOCK_STREAM, proto=socket.IPPROTO_UDP)
    same_answer(loop, "127.0.0.1", 80, type=socket.SOCK_RAW)
    same_answer(loop, "127.0.0.1", "http", type=socket.SOCK_SEQPACKET)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("type", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_answer_has_the_enumerations_of_the_socket_module(loop, host, type):
    expected = socket.getaddrinfo(host, 80, type=type)
    found = loop.run_until_complete(loop.getaddrinfo(host, 80, type=type))
    assert repr(found) == repr(expected)


def test_a_literal_can_be_looked_up_in_a_task(loop):
    async def main():
        lookup = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert asyncio.iscoroutine(lookup)
        return await asyncio.wait_for(asyncio.create_task(lookup), 60)

    expected = socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    assert loop.run_until_complete(main()) == expected


def test_a_literal_can_be_awaited_only_once(loop):
    async def main():
        lookup = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        await lookup
        with pytest.raises(RuntimeError, match="already awaited"):
            await lookup

    loop.run_until_complete(main())


def test_a_literal_that_is_never_awaited_is_warned_of(loop):
    with pytest.warns(RuntimeWarning, match="getaddrinfo.* was never awaited"):
        loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        gc.collect()


def test_a_literal_whose_lookup_was_closed_is_not_warned_of(loop):
    loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM).close()
    lookup = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    with pytest.raises(KeyError):
        lookup.throw(KeyError("why"))


def test_a_replaced_getaddrinfo_is_called_for_literals_too(loop, monkeypatch):
    answer = [("from", "the", "replacement")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer)
    lookup = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    assert loop.run_until_complete(lookup) == answer


def test_getaddrinfo_takes_no_unknown_keywords_and_no_third_argument(loop):
    with pytest.raises(TypeError):
        loop.getaddrinfo("127.0.0.1", 80, colour="red")
    with pytest.raises(TypeError):
        loop.getaddrinfo("127.0.0.1", 80, socket.AF_INET)


def test_a_literal_is_refused_once_the_loop_is_closed(loop_factory):
    loop = loop_factory()
    loop.close()
    lookup = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    with pytest.raises(RuntimeError, match="closed"):
        lookup.send(None)


def test_getaddrinfo_answers_many_at_once(loop):
    async def main():
        answers = await asyncio.gather(
            *(loop.getaddrinfo("localhost", 80 + i, type=socket.SOCK_STREAM) for i in range(50))
        )
        for i, answer in enumerate(answers):
            assert {info[4][1] for info in answer} == {80 + i}

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    "address, flags",
    [
        (("127.0.0.1", 80), 0),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("127.0.0.1", 53), socket.NI_NUMERICHOST | socket.NI_DGRAM),
        (("::1", 80, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    ],
)
def test_getnameinfo_answers_as_the_socket_module(loop, address, flags):
    expected = socket.getnameinfo(address, flags)
    assert loop.run_until_complete(loop.getnameinfo(address, flags)) == expected


@pytest.mark.parametrize("wrong", ["127.0.0.1", ("127.0.0.1",), ("x" * 100, 80)])
def test_getnameinfo_of_nonsense_fails_as_in_the_socket_module(loop, wrong):
    with pytest.raises((TypeError, OSError)) as expected:
        socket.getnameinfo(wrong, socket.NI_NUMERICHOST)
    with pytest.raises(type(expected.value)):
        loop.run_until_complete(loop.getnameinfo(wrong, socket.NI_NUMERICHOST))


def test_a_cancelled_lookup_leaves_nothing_behind(loop):
    async def main():
        lookup = asyncio.ensure_future(loop.getaddrinfo("localhost", 80))
        await asyncio.sleep(0)
        lookup.cancel()
        await asyncio.wait([lookup])  # cancelled, unless the answer was quicker
        assert await loop.getaddrinfo("localhost", 80)

    loop.run_until_complete(main())


def test_a_loop_closed_while_a_name_is_looked_up_does_not_crash(loop_factory):
    for _ in range(5):
        loop = loop_factory()
        lookup = loop.create_task(loop.getaddrinfo("localhost", 80))
        loop.stop()
        loop.run_forever()
        lookup.cancel()
        loop.stop()
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
