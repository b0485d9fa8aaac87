"""Messages there and back: what goes in, what comes out, and when it counts as consumed."""

from __future__ import annotations

import array
import contextlib
import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import lyquor
from conftest import PATIENCE, Pair, eventually
from lyquor import Lane


def acknowledged(ep: lyquor.Endpoint) -> bool:
    try:
        ep.flush(0)
    except TimeoutError:
        return False
    return True


def test_there_and_back(pair: Pair) -> None:
    assert pair.a.send(b"hello", channel=7, lane=Lane.URGENT) == 0
    assert pair.a.send(b"again", lane=1) == 1
    msg = pair.b.recv(PATIENCE)
    assert (bytes(msg), msg.data, len(msg), msg.channel, msg.lane, msg.id) == (b"hello", b"hello", 5, 7, Lane.URGENT, 0)
    assert msg.endpoint is pair.b
    assert "5 bytes" in repr(msg)
    pair.b.send(msg)
    assert bytes(pair.a.recv(PATIENCE)) == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x" * 16_384, b"y" * 65_536, b"z" * 65_537, b"long" * 250_000, bytearray(b"change" * 20_000),
        memoryview(b"0123456789")[2:5], array.array("d", [1.5] * 9), numpy.arange(100_000, dtype="i4"),
    ],
    ids=lambda data: f"{type(data).__name__}-{len(data)}",
)  # fmt: skip
def test_any_buffer(pair: Pair, data: Any) -> None:
    pair.a.send(data)
    assert pair.b.recv(PATIENCE).data == bytes(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("text", TypeError), (None, TypeError), (7, TypeError), (memoryview(b"0123456789")[::2], BufferError),
        (numpy.zeros((9, 9))[:, 1], BufferError),
    ],
)  # fmt: skip
def test_no_buffer(pair: Pair, data: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="bytes"):
        pair.a.send(data)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"channel": 65536}, ValueError), ({"channel": -1}, ValueError), ({"lane": 4}, ValueError),
        ({"ttl": 0}, ValueError), ({"ttl": float("nan")}, ValueError), ({"timeout": -1}, ValueError),
        ({"chanel": 1}, TypeError), ({"channel": "1"}, TypeError),
    ],
)  # fmt: skip
def test_wrong_options(pair: Pair, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"allowed|None|interpreted"):
        pair.a.send(b"x", **options)
    with pytest.raises(TypeError, match="one argument"):
        pair.a.send()  # type: ignore[call-arg]


def test_asking_for_the_next_acknowledges_one(pair: Pair) -> None:
    pair.a.send_many([b"one", b"two", b"three"])
    it = iter(pair.b)
    first = next(it)
    assert not acknowledged(pair.a)
    second, third = next(it), next(it)
    assert (first.released, second.released, third.released) == (True, True, False)
    assert (first.data, second.data) == (b"one", b"two"), "what is kept stays readable"
    assert not acknowledged(pair.a), "the third is being looked at"
    third.release()
    pair.a.flush(PATIENCE)
    with pytest.raises(ValueError, match="released"):
        third.data  # noqa: B018


def test_flush_ends_while_others_send(pair: Pair) -> None:
    pair.a.send_many([b"x", b"x"])
    thread = threading.Thread(target=pair.a.flush, args=(PATIENCE,))
    it = iter(pair.b)
    thread.start()
    end = time.monotonic() + PATIENCE / 2
    while thread.is_alive():  # at no time all is acknowledged, nor soon
        pair.a.send(b"x")
        next(it)
        thread.join(0.3)
        assert time.monotonic() < end
    for timeout in (0, 0.01, 0.3):
        with pytest.raises(TimeoutError, match="in flight"):
            pair.a.flush(timeout)
    with pytest.raises(ValueError):
        pair.a.flush(-1)


def test_dropping_acknowledges(pair: Pair) -> None:
    pair.a.send(b"x")
    it = iter(pair.b)
    msg = next(it)
    del msg, it
    gc.collect()
    pair.a.flush(PATIENCE)


def test_with_acknowledges(pair: Pair) -> None:
    pair.a.send(b"x")
    with pair.b.recv(PATIENCE) as msg:
        assert msg.data == b"x"
    assert msg.released and msg.data == b"x"
    pair.a.flush(PATIENCE)


def test_closing_acknowledges(pair: Pair) -> None:
    pair.a.send(b"x")
    for msg in pair.b:
        break
    pair.b.close()
    assert msg.data == b"x" and msg.released


def test_closing_at_once_does_not(pair: Pair) -> None:
    pair.a.send(b"x")
    msg = pair.b.recv(PATIENCE)
    pair.b.close(0)
    closed = [item for item in pair.a.items() if isinstance(item, lyquor.Closed)]
    assert [left.data for left in closed[0].unacked] == [b"x"] and msg.data == b"x"


def test_view_defers(pair: Pair) -> None:
    pair.a.send(b"0123456789" * 10_000)
    pair.a.send(b"next")
    it = iter(pair.b)
    msg = next(it)
    view = msg.view()
    assert view.readonly and view[:10] == b"0123456789"
    array = numpy.frombuffer(view, numpy.uint8)
    assert array.ctypes.data % 64 == 0 and not array.flags.owndata
    next(it).release()
    msg.release()
    assert not msg.released and not acknowledged(pair.a), "somebody looks at it"
    del array
    view.release()
    assert msg.released
    pair.a.flush(PATIENCE)


def test_alignment(pair: Pair) -> None:
    for size in (1, 3, 8, 100, 20_000):
        pair.a.send(bytes(size))
        assert numpy.frombuffer(pair.b.recv(PATIENCE), numpy.uint8).ctypes.data % 8 == 0


def test_view_outlives_everything() -> None:
    with lyquor.Driver() as driver:
        pair = Pair(driver)
        pair.a.send(b"stay" * 50_000)
        view = pair.b.recv(PATIENCE).view()
        pair.close()
        driver.close(0)
        assert driver.wait_closed(PATIENCE)
    del pair, driver
    gc.collect()
    assert bytes(view) == b"stay" * 50_000
    view.release()


@pytest.mark.parametrize("size", [16_385, 100_000])
def test_lent_bytes_are_given_back(pair: Pair, size: int) -> None:
    data = bytes(size)
    before = sys.getrefcount(data)
    it = iter(pair.b)
    for _ in range(5):
        pair.a.send(data, timeout=PATIENCE)
        assert sys.getrefcount(data) > before, "bytes of that size are lent"
        next(it).release()

    def given_back() -> bool:
        pair.b.send(b"x", timeout=PATIENCE)  # any call takes back what workers are done with
        return sys.getrefcount(data) == before

    eventually(given_back)


def test_short_bytes_are_copied(pair: Pair) -> None:
    data = bytes(16_384)
    before = sys.getrefcount(data)
    pair.a.send(data)
    assert sys.getrefcount(data) == before


def test_what_may_change_is_copied_or_lent_on_request(pair: Pair) -> None:
    data = bytearray(b"a" * 200_000)
    pair.a.send(data)
    data[:] = b"b" * 200_000
    assert pair.b.recv(PATIENCE).data == b"a" * 200_000
    pair.a.send(data, lend=True)
    with pytest.raises(BufferError):
        data.append(1)
    with pair.b.recv(PATIENCE) as msg:
        assert msg.data == b"b" * 200_000
    pair.a.flush(PATIENCE)
    data.append(1)  # it is given back before flush returns


def test_full_outbox(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(outbox_bytes=65536, window_bytes=65536)
    sent = 0
    with pytest.raises(lyquor.WouldBlock) as caught:
        while True:
            pair.a.send_nowait(b"x" * 1000)
            sent += 1
    assert isinstance(caught.value, BlockingIOError) and caught.value.code == "EAGAIN"
    with pytest.raises(TimeoutError):
        pair.a.send(b"x" * 1000, timeout=0.01)
    with pytest.raises(TimeoutError):
        pair.a.send(b"x" * 100_000, timeout=0.01)
    with pytest.raises(TimeoutError):
        pair.a.send(b"x" * 1000, timeout=0.01, ttl=100)
    assert "NORMAL" in pair.a.explain()
    thread = threading.Thread(target=pair.a.send_many, args=([b"y" * 70_000, b"y", b"y" * 1000],))
    thread.start()
    it = iter(pair.b)
    got = [len(next(it)) for _ in range(sent + 3)]
    thread.join(PATIENCE)
    assert got == [1000] * sent + [70_000, 1, 1000]


def test_refusals_pile_nothing_up(make_pair: Callable[..., Pair]) -> None:
    """Each refusal is followed by a Writable; a program that takes none out holds no more for that."""
    pair = make_pair(outbox_bytes=65536, window_bytes=65536)
    refused = 0

    def fill() -> None:
        nonlocal refused
        try:
            while True:
                pair.a.send_nowait(b"x" * 1000)
        except BlockingIOError:
            refused += 1

    fill()
    before = lyquor.process_counters().parcels
    while refused < 300:
        with contextlib.suppress(TimeoutError):
            pair.b.recv(0.01)
        fill()
    assert lyquor.process_counters().parcels < before + 150


def test_ttl(driver: lyquor.Driver) -> None:
    listener = driver.listen("tcp://127.0.0.1:0")
    address = listener.address
    listener.close()
    eventually(lambda: lyquor._lyquor.wait(listener._id, lyquor._lyquor.CLOSED, 0))
    ep = driver.dial(address)
    ep.send(b"late", ttl=0.001)
    ep.send(b"kept")
    late = driver.now() + 0.01
    eventually(lambda: driver.now() > late)
    with driver.listen(address) as again:
        peer = again.accept(PATIENCE)
        assert peer.recv(PATIENCE).data == b"kept"
        peer.close(0)
    ep.close(0)


def test_threads_share_an_endpoint(pair: Pair) -> None:
    count, threads = 2000, 4
    got: list[bytes] = []

    def take() -> None:
        got.extend(msg.data for msg in pair.b)

    takers = [threading.Thread(target=take) for _ in range(threads)]
    senders = [threading.Thread(target=pair.a.send_many, args=([b"%d-%d" % (k, i) for i in range(count)],))
               for k in range(threads)]  # fmt: skip
    for thread in takers + senders:
        thread.start()
    for thread in senders:
        thread.join(PATIENCE)
    pair.a.close()
    for thread in takers:
        thread.join(PATIENCE)
    assert sorted(got) == sorted(b"%d-%d" % (k, i) for k in range(threads) for i in range(count))


def sleeps(thread: threading.Thread) -> bool:
    return Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(")")[-1].split()[0] == "S"


def test_threads_may_share_an_iterator(pair: Pair) -> None:
    it = iter(pair.b)
    got = {}

    def take() -> None:
        msg = next(it)
        got[msg.id] = msg

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: all(sleeps(thread) for thread in threads))
    pair.a.send_many([b"0", b"1"])
    for thread in threads:
        thread.join(PATIENCE)
    pair.a.send(b"2")
    del got[0]
    assert next(it).id == 2
    assert got[1].released, "asking for the next one acknowledges the one that was handed out last"


def test_manual_ack(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(manual_ack=True)
    pair.a.send_many([b"one", b"two"])
    one, two = pair.b.recv(PATIENCE), pair.b.recv(PATIENCE)
    one.release(), two.release()
    assert not acknowledged(pair.a)
    pair.b.ack(one.id)
    assert not acknowledged(pair.a)
    two.ack()
    pair.a.flush(PATIENCE)
    with pytest.raises(ValueError):
        pair.b.ack(99)


def test_recv_timeout_and_end(pair: Pair) -> None:
    with pytest.raises(lyquor.TimedOut):
        pair.b.recv(0)
    with pytest.raises(TimeoutError):
        pair.b.recv(0.01)
    pair.a.end()
    with pytest.raises(EOFError):
        pair.b.recv(PATIENCE)
    pair.b.send(b"the other direction goes on")
    assert pair.a.recv(PATIENCE).data == b"the other direction goes on"


def test_long_messages_need_the_peers_consent(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(max_message=4 << 20)
    pair.a.send(bytes(4 << 20))
    with pytest.raises(lyquor.MessageTooLong):
        pair.a.send(bytes((4 << 20) + 1))
    assert len(pair.b.recv(PATIENCE)) == 4 << 20
