"""Events, ends and errors: what a loop hands out, when it ends, and what it raises."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lyquor
from conftest import PATIENCE, Pair, eventually
from lyquor import Accepted, Closed, Down, Ended, Message, TimerDue, Up, aio


def take(items: Iterator[Any], kind: type[Any]) -> Any:
    """The next item of a kind."""
    return next(item for item in items if isinstance(item, kind))


def test_items_in_order(pair: Pair) -> None:
    pair.a.send(b"one")
    pair.a.end()
    items = pair.b.items()
    up = next(items)
    assert isinstance(up, Up) and up.endpoint is pair.b and up.max_message == 1 << 20
    assert up.agent.startswith("lyquor/") and up.local.startswith("tcp://127.0.0.1:")
    assert isinstance(next(items), Message)
    assert isinstance(next(items), Ended)
    pair.b.close()
    closed = take(items, Closed)
    assert (closed.errno, closed.error, closed.unacked) == (0, None, ())
    assert closed.accounts[0].received == 1 and closed.accounts[0].accepted == 0
    assert list(items) == [] and list(pair.b) == []
    with pytest.raises(BrokenPipeError):
        pair.b.send(b"x")


def test_loop_ends_with_the_peer(pair: Pair) -> None:
    pair.a.send_many([b"1", b"2"])
    pair.a.close()
    assert [msg.data for msg in pair.b] == [b"1", b"2"]
    assert pair.a.wait_closed(PATIENCE) and pair.b.wait_closed(PATIENCE)
    assert list(pair.b) == []


def test_loop_raises_why(driver: lyquor.Driver) -> None:
    with driver.listen("tcp://127.0.0.1:0") as listener:
        address = listener.address
    eventually(lambda: lyquor._lyquor.wait(listener._id, lyquor._lyquor.CLOSED, 0))
    ep = driver.dial(address, resume=0)
    ep.send(b"nobody")
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError) as caught:
            list(ep)
        error = caught.value
        assert isinstance(error, lyquor.LyquorError) and (error.code, error.errno) == ("EREFUSED", -13)
        assert error.endpoint is ep and "refused" in str(error)
    with pytest.raises(ConnectionRefusedError):
        ep.wait_up(PATIENCE)
    assert list(ep.items()) == []


def test_who_sends_is_told_why_it_closed(driver: lyquor.Driver) -> None:
    ep = driver.dial("tcp://127.0.0.1:99999")
    assert ep.wait_closed(PATIENCE)
    with pytest.raises(lyquor.AddressError, match="99999.* is not a number"):
        ep.wait_up()
    for send in (ep.send, ep.send_nowait):
        with pytest.raises(lyquor.ClosedError, match="99999.* is not a number"):
            send(b"x")


def test_refusals_say_what_is_allowed(pair: Pair) -> None:
    with pytest.raises(lyquor.MessageTooLong, match="2000000 bytes.*max_message"):
        pair.a.send(bytes(2_000_000))
    pair.a.send(b"x")
    msg = pair.b.recv(PATIENCE)
    for ack in (msg.ack, lambda: pair.b.ack(0)):
        with pytest.raises(lyquor.ArgumentError, match="manual_ack"):
            ack()


def test_unacked_is_listed(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.a.send(b"seen", channel=5)
    pair.a.send(b"\0" * 100_000, lane=lyquor.Lane.BULK)
    seen = pair.b.recv(PATIENCE)  # and not acknowledged, as long as somebody looks at it
    assert seen.data == b"seen"
    pair.a.close(0)
    closed = take(pair.a.items(), Closed)
    first, second = closed.unacked
    assert (first.lane, first.channel, first.id, first.data) == (0, 5, 0, b"seen") and first.maybe_delivered
    assert (second.lane, second.data) == (lyquor.Lane.BULK, b"\0" * 100_000)
    assert closed.accounts[0].maybe_delivered == 1


def test_peer_restarts(driver: lyquor.Driver) -> None:
    listener = driver.listen("tcp://127.0.0.1:0", resume=0)
    address = listener.address
    with lyquor.Driver() as first:
        first_listener = first.listen("tcp://127.0.0.1:0")
        ep = driver.dial(first_listener.address)
        peer = first_listener.accept(PATIENCE)
        ep.send(b"lost?")
        lost = peer.recv(PATIENCE)
        assert lost.data == b"lost?"
        first_listener.close()
        ep.switch(address)
        ep2 = listener.accept(PATIENCE)
        with pytest.raises(lyquor.PeerRestarted) as caught:
            list(ep)
        assert isinstance(caught.value, ConnectionResetError)
        assert [(left.data, left.maybe_delivered) for left in caught.value.unacked] == [(b"lost?", True)]
        assert caught.value.accounts[0].accepted == 1 and caught.value.endpoint is ep
        ep.send(b"goes on")
        assert ep2.recv(PATIENCE).data == b"goes on"
        peer.close(0)
    ep.close(0), ep2.close(0), listener.close()


def test_inbox_of_many(driver: lyquor.Driver) -> None:
    with driver.inbox() as served, driver.inbox() as dialled:
        listener = driver.listen("mem://many", inbox=served)
        with pytest.raises(TypeError, match="inbox"):
            listener.accept()
        clients = [driver.dial("mem://many", inbox=dialled) for _ in range(5)]
        assert clients[0].inbox is dialled
        for i, client in enumerate(clients):
            client.send(b"%d" % i)
        items = served.items()
        accepted: list[Any] = []
        said = {}
        while len(said) < 5:
            item = next(items)
            if isinstance(item, Accepted):
                assert item.listener is listener and item.endpoint.inbox is served
                accepted.append(item.endpoint)
            elif isinstance(item, Message):
                said[item.endpoint] = item.data
                item.endpoint.send(b"echo " + item.data)
        assert set(said) == set(accepted) and sorted(said.values()) == [b"0", b"1", b"2", b"3", b"4"]
        echoes = iter(dialled)
        assert {(msg.endpoint, msg.data) for _, msg in zip(range(5), echoes, strict=False)} == {
            (client, b"echo %d" % i) for i, client in enumerate(clients)
        }
        clients[0].close(0)
        assert take(items, Closed).endpoint in accepted
        for client in clients:
            client.close(0)
        listener.close()
        for endpoint in accepted:
            endpoint.close(0)


def test_closing_an_inbox_ends_loops(driver: lyquor.Driver) -> None:
    inbox = driver.inbox()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(inbox))
    thread.start()
    inbox.close()
    thread.join(PATIENCE)
    assert not thread.is_alive() and got == []
    with pytest.raises(EOFError):
        inbox.recv(PATIENCE)


def test_listener(driver: lyquor.Driver) -> None:
    listener = driver.listen("tcp://127.0.0.1:0")
    with pytest.raises(TimeoutError):
        listener.accept(0.01)
    with pytest.raises(OSError, match="in use"):
        driver.listen(listener.address)
    eps = [driver.dial(listener.address) for _ in range(3)]
    accepted = [ep for _, ep in zip(range(3), listener, strict=False)]
    assert len({ep.address for ep in accepted}) == 3
    late = driver.dial(listener.address)
    late.send(b"x")
    listener.close()
    with pytest.raises(lyquor.ClosedError):
        listener.accept(PATIENCE)
    assert list(listener) == []
    for ep in (*eps, *accepted, late):
        ep.close(0)


def test_a_closed_listener_hands_out_nothing(driver: lyquor.Driver) -> None:
    listener = driver.listen("tcp://127.0.0.1:0")
    eps = [driver.dial(listener.address) for _ in range(3)]
    for ep in eps:
        ep.wait_up(PATIENCE)
    first = listener.accept(PATIENCE)
    listener.close()
    with pytest.raises(lyquor.ClosedError):
        listener.accept(PATIENCE)
    first.close(0)
    for ep in eps:
        assert ep.wait_closed(PATIENCE), "nobody has taken it"


def test_timers(driver: lyquor.Driver, pair: Pair) -> None:
    with driver.inbox() as inbox:
        never = driver.timer(3600, inbox)
        never.cancel()
        due = driver.timer(0.001, inbox)
        assert next(inbox.items()) == TimerDue(None, due)
    timer = driver.timer(0, pair.b)
    assert take(pair.b.items(), TimerDue) == TimerDue(pair.b, timer)
    assert timer != never and len({timer, due}) == 2


def test_wait_up_says_who_is_missing(driver: lyquor.Driver) -> None:
    with driver.listen("tcp://127.0.0.1:0") as listener:
        address = listener.address
    eventually(lambda: lyquor._lyquor.wait(listener._id, lyquor._lyquor.CLOSED, 0))
    with driver.dial(address) as ep:
        with pytest.raises(TimeoutError, match=address):
            ep.wait_up(0.01)
        down = take(ep.items(), Down)
        assert isinstance(down.error, ConnectionRefusedError)
        ep.close(0)


def test_flush_after_close(pair: Pair) -> None:
    pair.a.flush(PATIENCE)
    pair.a.close(0)
    assert pair.a.wait_closed(PATIENCE)
    with pytest.raises(lyquor.ClosedError):
        pair.a.flush()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"workers": 0}, "workers"), ({"workers": 65}, "workers"), ({"busy_poll": 2}, "busy_poll"),
        ({"memory_limit": -1}, "memory_limit"), ({"cpus": (0,)}, "cpus"), ({"name": "much too long"}, "name"),
        ({"memory_limit": 5}, "memory"),
    ],
)  # fmt: skip
def test_wrong_driver_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        lyquor.Driver(**options)


@pytest.mark.parametrize(
    "options",
    [{"worker": 99}, {"outbox_bytes": 1}, {"window_bytes": 1}, {"max_message": 1}, {"keepalive": -1}, {"resume": -1},
     {"connect_timeout": 1e9}, {"on_restart": 7}, {"worker": -1}, {"outbox_bytes": -1}, {"outbox_bytes": 1 << 64},
     {"window_bytes": 1 << 70}],
)  # fmt: skip
def test_wrong_endpoint_options(driver: lyquor.Driver, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        driver.dial("tcp://127.0.0.1:1", **options)
    with pytest.raises(ValueError):
        driver.listen("tcp://127.0.0.1:0", **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [({"address": b"tcp://127.0.0.1:1"}, "address"), ({"address": ("127.0.0.1", 1)}, "address"),
     ({"outbox_bytes": 1e6}, "outbox_bytes"), ({"inbox": "x"}, r"lyquor\.Inbox is needed")],
)  # fmt: skip
def test_wrong_types(driver: lyquor.Driver, options: dict[str, Any], what: str) -> None:
    options = {"address": "tcp://127.0.0.1:0", **options}
    for call in (driver.dial, driver.listen):
        with pytest.raises(TypeError, match=what):
            call(**options)


def test_one_driver_has_one_kind_of_inbox(driver: lyquor.Driver) -> None:
    with driver.inbox() as inbox:
        other = aio.Driver()
        with pytest.raises(TypeError, match=r"lyquor\.aio\.Inbox is needed"):
            other.dial("tcp://127.0.0.1:1", inbox=inbox)  # type: ignore[arg-type]
        other.close(0)


def test_wrong_addresses(driver: lyquor.Driver) -> None:
    with pytest.raises(lyquor.AddressError, match="nonsense"):
        driver.dial("nonsense://x")
    with pytest.raises(lyquor.LyquorError):
        driver.listen("tcp://not-a-host.invalid:0")
    with pytest.raises(ValueError):
        driver.dial("tcp://127.0.0.1\0:1")


def test_closed_driver() -> None:
    driver = lyquor.Driver()
    driver.close(0)
    assert driver.wait_closed(PATIENCE)
    with pytest.raises(lyquor.ClosedError):
        driver.dial("tcp://127.0.0.1:1")
    assert "closed" in repr(driver)


def test_what_things_are_called(driver: lyquor.Driver) -> None:
    with driver.listen("tcp://127.0.0.1:0") as listener, driver.dial(listener.address) as ep:
        assert repr(listener) == f"<lyquor.Listener {listener.address}>"
        assert repr(ep) == f"<lyquor.Endpoint {listener.address}>"
        ep.close(0)
    assert repr(listener) == "<lyquor.Listener closed>"


def test_looking_and_moving(driver: lyquor.Driver, pair: Pair) -> None:
    pair.a.set_worker(2)
    pair.a.send(b"x" * 1000)
    pair.b.recv(PATIENCE)
    eventually(lambda: pair.a.counters().worker == 2)
    assert pair.a.counters().msgs_sent == 1
    assert driver.counters().frames >= driver.counters(1).frames
    assert lyquor.process_counters().handles > 3
    assert isinstance(driver.explain(), str)
    assert pair.a.address == pair.listener.address
    assert pair.a.fileno() > 2
    pair.b.quiesce(PATIENCE)
    pair.a.send(b"waits")
    with pytest.raises(TimeoutError):
        pair.b.recv(0.01)
    pair.b.resume()
    assert pair.b.recv(PATIENCE).data == b"waits"
    driver.quiesce(PATIENCE)
    driver.resume()
    assert lyquor.has("tcp") and not lyquor.has("carrier pigeons")


def test_pickling_says_why_not(driver: lyquor.Driver, pair: Pair) -> None:
    for thing in (driver, pair.a, pair.listener, driver.timer(3600, pair.a)):
        with pytest.raises(TypeError, match="address"):
            pickle.dumps(thing)
    error = pickle.loads(pickle.dumps(lyquor.Reset(-15, "why")))
    assert (type(error), error.errno, str(error)) == (lyquor.Reset, -15, "connection reset: why")


def test_unclosed_things_warn() -> None:
    import gc

    with lyquor.Driver() as driver:
        with driver.listen("mem://unclosed"):
            ep = driver.dial("mem://unclosed")
            with pytest.warns(ResourceWarning, match="unclosed <lyquor.Endpoint mem://unclosed>"):
                del ep
                gc.collect()
        listener = driver.listen("mem://unclosed2")
        with pytest.warns(ResourceWarning, match="unclosed"):
            del listener
            gc.collect()
    driver = lyquor.Driver()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del driver
        gc.collect()


