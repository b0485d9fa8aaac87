"""lyquor.aio, under each event loop."""

from __future__ import annotations

import asyncio
import gc
import select
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
import uvloop

import lyquor
from conftest import PATIENCE, eventually
from lyquor import aio

Main = Callable[[], Awaitable[None]]


def on_uvloop(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())  # type: ignore[arg-type]


RUNNERS: dict[str, Callable[[Main], None]] = {
    "asyncio": lambda main: asyncio.run(main()),  # type: ignore[arg-type]
    "asyncio-debug": lambda main: asyncio.run(main(), debug=True),  # type: ignore[arg-type]
    "uvloop": on_uvloop,
    "trio": trio.run,
}


@pytest.fixture(params=RUNNERS)
def loop(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    def run(main: Main) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await main()

        RUNNERS[request.param](bounded)

    return run


async def together(*mains: Main) -> None:
    async with anyio.create_task_group() as group:
        for main in mains:
            group.start_soon(main)


class Pair:
    """Two ends of one channel, as an async context."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    async def __aenter__(self) -> Pair:
        self.driver = aio.Driver()
        self.listener = self.driver.listen("tcp://127.0.0.1:0", **self.options)
        self.a = self.driver.dial(self.listener.address, **self.options)
        self.b = await self.listener.accept()
        await self.a.wait_up()
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.listener.close()
        self.a.close(0)
        self.b.close(0)
        self.driver.close(0)
        await self.driver.wait_closed()


def test_there_and_back(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair() as p:
            assert await p.a.send(b"hello", channel=3) == 0
            msg = await p.b.recv()
            assert (msg.data, msg.channel, msg.endpoint) == (b"hello", 3, p.b)
            for i in range(200):
                await p.b.send(b"%d" % i)
                assert (await p.a.recv()).data == b"%d" % i
            await p.b.wait_up()
            assert p.b.send_nowait(b"last") == 200
            assert await p.b.send_many(b"%d" % i for i in range(10)) == 10
            p.b.end()
            assert [msg.data async for msg in p.a] == [b"last", *(b"%d" % i for i in range(10))]
            with pytest.raises(EOFError):
                await p.a.recv()
            await p.b.flush()

    loop(main)


def test_flush_gives_lent_buffers_back(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair() as p:
            data = bytearray(b"x" * 100)
            await p.a.send(data, lend=True)
            (await p.b.recv()).release()
            await p.a.flush()
            data.append(1)

    loop(main)


def test_flushes(loop: Callable[[Main], None]) -> None:
    """Each is over when what was sent before it is consumed, and not sooner, whatever others ask meanwhile."""

    async def main() -> None:
        async with Pair() as p:
            await p.a.flush()
            done: list[int] = []

            async def send() -> None:
                id = await p.a.send(b"")
                await p.a.flush()
                done.append(id)

            async def take() -> None:
                for i in range(50):
                    assert not done or max(done) < i
                    assert (await p.b.recv()).id == i
                (await p.b.recv()).release()
                while len(done) < 51:
                    await anyio.sleep(0.001)

            await together(take, *[send] * 51)
            with anyio.move_on_after(0):
                await p.a.send(b"held")
                await p.a.flush()
            held = await p.b.recv()
            with anyio.move_on_after(0.02):
                await p.a.flush()
                raise AssertionError("it is not consumed")
            held.release()
            await p.a.flush()
            await p.a.send(b"never consumed")
            p.b.close(0)
            with pytest.raises(lyquor.ClosedError):
                await p.a.flush()
            with pytest.raises(lyquor.ClosedError):
                await p.a.flush()

    loop(main)


def test_full_outboxes_wait(loop: Callable[[Main], None]) -> None:
    count, size = 500, 3000

    async def main() -> None:
        async with Pair(outbox_bytes=65536, window_bytes=65536) as p:

            async def send(ep: aio.Endpoint) -> None:
                for i in range(count):
                    await ep.send(i.to_bytes(4, "little") * (size // 4), lane=i % 4)
                ep.end()

            async def take(ep: aio.Endpoint) -> None:
                got: list[list[int]] = [[], [], [], []]
                async for msg in ep:
                    got[msg.lane].append(int.from_bytes(msg.data[:4], "little"))
                assert got == [list(range(lane, count, 4)) for lane in range(4)]

            await together(lambda: send(p.a), lambda: take(p.b), lambda: send(p.b), lambda: take(p.a))

    loop(main)


def test_long_messages_wait_too(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair(outbox_bytes=65536) as p:

            async def send() -> None:
                for i in range(20):
                    await p.a.send(bytes([i]) * 200_000)
                p.a.end()

            got = []

            async def take() -> None:
                async for msg in p.b:
                    got.append(msg.view()[0])

            await together(send, take)
            assert got == list(range(20))

    loop(main)


def test_a_sender_beside_a_receiver_that_waits(loop: Callable[[Main], None]) -> None:
    """Both wait at one inbox: what one pulls out of it may be what the other waits for."""

    async def main() -> None:
        async with Pair(outbox_bytes=65536, window_bytes=65536) as p:
            rounds = 100

            async def ask() -> None:
                for _ in range(rounds * 10):
                    await p.a.send(b"?" * 1000)

            async def hear() -> None:
                for _ in range(rounds):
                    assert (await p.a.recv()).data == b"!"

            async def answer() -> None:
                n = 0
                async for _ in p.b:
                    n += 1
                    if n % 10 == 0:
                        await p.b.send(b"!")
                    if n == rounds * 10:
                        return

            await together(ask, hear, answer)

    loop(main)


def test_cancelled_recv_loses_nothing(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair() as p:
            for i in range(20):
                with anyio.move_on_after(0.001):
                    await p.b.recv()
                    raise AssertionError("there is nothing")
                await p.a.send(b"%d" % i)
                assert (await p.b.recv()).data == b"%d" % i

    loop(main)


def test_cancelled_send_is_not_sent(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair(outbox_bytes=65536, window_bytes=65536) as p:
            sent = 0
            with pytest.raises(BlockingIOError):
                while True:
                    p.a.send_nowait(b"x" * 1000)
                    sent += 1
            with anyio.move_on_after(0.01):
                await p.a.send(b"too late" * 1000)
                raise AssertionError("there is no room")
            it = aiter(p.b)
            for _ in range(sent):
                assert (await anext(it)).data == b"x" * 1000
            await p.a.send(b"last", channel=9, lane=lyquor.Lane.NORMAL, ttl=100, lend=False)
            last = await anext(it)
            assert (last.data, last.channel) == (b"last", 9)

    loop(main)


def test_nothing_happens_before_it_is_awaited() -> None:
    async def main() -> None:
        async with Pair() as p:
            with pytest.warns(RuntimeWarning, match=r"'Endpoint\.send' was never awaited"):
                p.a.send(b"forgotten")  # type: ignore[unused-coroutine]
            p.a.send(b"closed").close()
            assert "Endpoint.send" in repr(cancelled := asyncio.create_task(p.a.send(b"cancelled")))
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert await p.a.send_many([b"one", b"two"]) == 2
            p.a.end()
            it = aiter(p.b)
            assert (await anext(it)).data == b"one"
            while p.b.counters().msgs_received < 2:
                await asyncio.sleep(0.001)
            cancelled = asyncio.create_task(anext(it))  # type: ignore[arg-type]
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert (await anext(it)).data == b"two", "what nobody saw is not taken, nor acknowledged"
            assert await anext(it, None) is None
            ended = anext(it)
            with pytest.raises(StopAsyncIteration):
                await ended

    asyncio.run(main())


def test_what_one_pulls_wakes_the_others(loop: Callable[[Main], None]) -> None:
    """What a coroutine or a thread pulls while others wait may be what they wait for; the descriptor is silent then."""

    def fill(ep: aio.Endpoint) -> int:
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                ep.send_nowait(b"x" * 1000)
                sent += 1
        return sent

    async def main() -> None:
        async with Pair(outbox_bytes=65536, window_bytes=65536) as p:
            sent = fill(p.a)
            results: list[Any] = []

            async def hear() -> None:
                results.append((await p.a.recv()).data)

            async def send() -> None:
                results.append(await p.a.send(b"x" * 1000))

            async def refused() -> None:
                await anyio.sleep(0.01)
                p.b.send_nowait(b"first")
                eventually(lambda: p.a.counters().msgs_received == 1)  # and the loop stands still
                with pytest.raises(BlockingIOError):
                    p.a.send_nowait(b"x" * 1000)

            await together(hear, refused)

            async def next_one() -> None:
                await anyio.sleep(0.01)
                while p.b.counters().msgs_received < sent:
                    await anyio.sleep(0.001)
                for _ in range(sent):
                    (await p.b.recv()).release()
                p.b.send_nowait(b"second")
                eventually(lambda: p.a.counters().msgs_received == 2)
                eventually(lambda: select.select([p.a], [], [], 0)[0])
                assert (await p.a.recv()).data == b"second"
                while len(results) < 2:
                    await anyio.sleep(0.001)

            await together(send, next_one)
            assert results == [b"first", sent]

            async def from_a_thread() -> None:
                await anyio.sleep(0.01)
                fill(p.a)
                p.b.send_nowait(b"third")
                await anyio.to_thread.run_sync(lambda: eventually(lambda: pulled(p.a)))

            def pulled(ep: aio.Endpoint) -> bool:
                with pytest.raises(BlockingIOError):
                    ep.send_nowait(b"x" * 1000)
                return ep.counters().msgs_received == 3

            await together(hear, from_a_thread)
            assert results[2] == b"third"

    loop(main)


def test_two_loops_at_once_are_refused() -> None:
    driver = aio.Driver()
    inbox = driver.inbox()
    waits = threading.Event()

    async def take() -> None:
        asyncio.get_running_loop().call_later(0.01, waits.set)
        with pytest.raises(EOFError):
            await inbox.recv()

    async def take_too() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await inbox.recv()

    thread = threading.Thread(target=asyncio.run, args=(take(),))
    thread.start()
    assert waits.wait(PATIENCE)
    asyncio.run(take_too())
    trio.run(take_too)
    inbox.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    driver.close(0)


def test_others_have_their_turn(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair() as p:
            for _ in range(1000):
                await p.a.send(b"x")
            p.a.end()
            await p.b.recv()
            turns = 0

            async def other() -> None:
                nonlocal turns
                while turns >= 0:
                    turns += 1
                    await anyio.sleep(0)

            async def take() -> None:
                nonlocal turns
                async for _ in p.b:
                    pass
                assert turns >= 1000 // 64 - 1
                turns = -10

            await together(other, take)

    loop(main)


def test_inbox_of_many(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Driver() as driver, driver.inbox() as served:
            async with driver.listen("mem://aio", inbox=served) as listener:
                clients = [driver.dial("mem://aio") for _ in range(10)]

                async def serve() -> None:
                    endpoints = []
                    async for item in served.items():
                        match item:
                            case lyquor.Accepted(endpoint=ep):
                                assert item.listener is listener
                                endpoints.append(ep)
                            case lyquor.Message():
                                await item.endpoint.send(item)
                            case lyquor.Closed():
                                item.endpoint.close(0)
                                endpoints.remove(item.endpoint)
                                if not endpoints:
                                    return

                async def talk(client: aio.Endpoint) -> None:
                    for i in range(20):
                        await client.send(b"%d" % i)
                        assert (await client.recv()).data == b"%d" % i

                async def all_talk() -> None:
                    await together(*(lambda client=client: talk(client) for client in clients))  # type: ignore[misc]
                    for client in clients:
                        client.close()
                        await client.wait_closed()

                await together(serve, all_talk)

    loop(main)


def test_ends(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with Pair() as p:
            items = p.b.items()
            p.a.close()
            kinds = [type(item) async for item in items]
            assert kinds[0] is lyquor.Up and kinds[-1] is lyquor.Closed
            with pytest.raises(lyquor.ClosedError):
                await p.b.send(b"x")
            with pytest.raises(lyquor.ClosedError):
                await p.b.wait_up()
            with pytest.raises(TypeError, match="timeout"):
                await p.b.send(b"x", timeout=1)  # type: ignore[call-arg]
        async with aio.Driver() as driver:
            async with driver.dial("tcp://127.0.0.1:1", resume=0) as ep:
                with pytest.raises(ConnectionRefusedError):
                    async for _ in ep:
                        pass
                with pytest.raises(ConnectionRefusedError):
                    await ep.wait_up()

    loop(main)


def test_a_waiting_loop_ends_with_its_inbox(loop: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Driver() as driver:
            inbox = driver.inbox()
            waits = anyio.Event()

            async def take() -> None:
                waits.set()
                async for _ in inbox:
                    raise AssertionError

            async def close() -> None:
                await waits.wait()
                await anyio.sleep(0)
                inbox.close()

            await together(take, close)

    loop(main)


@pytest.mark.parametrize("closed", ["inbox", "driver"])
def test_who_waits_ends_with_the_inbox(loop: Callable[[Main], None], closed: str) -> None:
    async def main() -> None:
        async with aio.Driver() as peers, peers.listen("tcp://127.0.0.1:0", window_bytes=65536) as listener:
            driver = aio.Driver()
            inbox = driver.inbox()
            ep = driver.dial(listener.address, inbox=inbox, outbox_bytes=65536)
            peer = await listener.accept()
            with pytest.raises(BlockingIOError):
                while True:
                    ep.send_nowait(b"x" * 1000)

            async def send() -> None:
                with pytest.raises(lyquor.ClosedError):
                    await ep.send(b"x" * 1000)

            async def flush() -> None:
                with pytest.raises(lyquor.ClosedError):
                    await ep.flush()

            async def close() -> None:
                await anyio.sleep(0.01)
                inbox.close() if closed == "inbox" else driver.close(0)

            await together(send, flush, ep.wait_closed, close)
            driver.close(0), peer.close(0)

    loop(main)


def test_what_is_ready_is_a_coroutine() -> None:
    async def main() -> None:
        async with Pair() as p:
            first = asyncio.create_task(p.a.send(b"one"))
            await asyncio.gather(first, p.a.send(b"two"), asyncio.wait_for(p.a.send(b"three"), PATIENCE))
            async with asyncio.TaskGroup() as group:
                group.create_task(p.a.send((b"four")))
            assert sorted([(await p.b.recv()).data for _ in range(4)]) == [b"four", b"one", b"three", b"two"]
            done = p.a.send(b"five")
            assert await done == 4
            with pytest.raises(RuntimeError, match="already awaited"):
                await done
            done.close()
            with pytest.raises(KeyError):
                p.a.send(b"six").throw(KeyError("x"))

    asyncio.run(main())


def test_one_endpoint_in_several_loops() -> None:
    driver = aio.Driver()
    listener = driver.listen("tcp://127.0.0.1:0")
    a = driver.dial(listener.address)

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await together(a.recv, say)  # type: ignore[arg-type]

    async def say() -> None:
        await anyio.sleep(0.001)
        await b.send(b"x")

    async def accept() -> aio.Endpoint:
        return await listener.accept()

    b = asyncio.run(accept())
    for run in (asyncio.run, asyncio.run):
        run(main())
    trio.run(main)
    on_uvloop(main)
    asyncio.run(main())
    a.close(0), b.close(0), listener.close(), driver.close(0)


def test_many_loops_one_after_the_other() -> None:
    """Descriptors of inboxes that are gone are nobody's in the next loop."""

    async def main() -> None:
        async with Pair() as p:
            await asyncio.gather(p.b.recv(), p.a.send(b"x"))

    for _ in range(10):
        asyncio.run(main())
        gc.collect()
