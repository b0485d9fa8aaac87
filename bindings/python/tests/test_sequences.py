"""Random sequences of calls: whatever is called in whatever order, messages come once and in order."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lyquor
from conftest import PATIENCE

sizes = st.sampled_from([0, 1, 7, 64, 1000, 16_384, 16_385, 65_536, 65_537, 200_000])
lanes = st.sampled_from(list(lyquor.Lane))


class Calls(RuleBasedStateMachine):
    """One endpoint that sends and one that receives; a model of what is on its way.

    What is drawn depends on nothing that depends on time, as full outboxes and timeouts do: hypothesis wants the same
    choices to lead to the same questions. So it is the rules that look whether they apply, not preconditions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.driver = lyquor.Driver()
        listener = self.driver.listen("mem://sequences", outbox_bytes=1 << 20, window_bytes=1 << 20)
        self.a = self.driver.dial("mem://sequences", outbox_bytes=1 << 20)
        self.b = listener.accept(PATIENCE)
        listener.close()
        self.sent: list[list[bytes]] = [[], [], [], []]
        self.taken = [0, 0, 0, 0]
        self.number = 0
        self.kept: list[tuple[Any, bytes]] = []
        self.ended = self.closed = False
        self.it = iter(self.b)

    def teardown(self) -> None:
        self.kept.clear()
        self.a.close(0), self.b.close(0)
        self.driver.close(0)
        assert self.driver.wait_closed(PATIENCE)

    @rule(size=sizes, lane=lanes, kind=st.sampled_from([bytes, bytearray, memoryview]), lend=st.sampled_from([None, 0]))
    def send(self, size: int, lane: lyquor.Lane, kind: Any, lend: bool | None) -> None:
        self.number += 1
        data = (self.number.to_bytes(4, "little") * (size // 4 + 1))[:size]
        try:
            id = self.a.send_nowait(kind(data), lane=lane, channel=self.number % 65536, lend=lend)
        except lyquor.WouldBlock:
            assert not self.ended
        except lyquor.ClosedError:
            assert self.ended or self.closed  # until a hears that b is closed, it takes more
        else:
            assert not self.ended and id == len(self.sent[lane])
            self.sent[lane].append(data)

    @rule(keep=st.sampled_from(["drop", "keep", "view", "release"]), fresh=st.booleans())
    def take(self, keep: str, fresh: bool) -> None:
        if self.closed or all(len(s) == t for s, t in zip(self.sent, self.taken, strict=True)):
            return
        if fresh:
            self.it = iter(self.b)
        try:
            msg = self.it.next(0.02 if self.kept else PATIENCE)  # type: ignore[attr-defined]
        except lyquor.TimedOut:
            assert self.kept, "what is held fills the window, else it comes"
            return
        expected = self.sent[msg.lane][self.taken[msg.lane]]
        assert (msg.id, len(msg)) == (self.taken[msg.lane], len(expected))
        self.taken[msg.lane] += 1
        if keep == "keep":
            self.kept.append((msg, expected))
        elif keep == "view":
            self.kept.append((msg.view(), expected))
        elif keep == "release":
            assert msg.data == expected
            msg.release()

    @rule()
    def let_go(self) -> None:
        self.kept.clear()

    @rule()
    def nothing_there(self) -> None:
        if all(len(s) == t for s, t in zip(self.sent, self.taken, strict=True)) and not self.ended and not self.closed:
            with contextlib.suppress(lyquor.TimedOut):
                raise AssertionError(self.b.recv(0))

    @rule()
    def end(self) -> None:
        with contextlib.suppress(lyquor.ClosedError):
            self.a.end()
        self.ended = True

    @rule()
    def look(self) -> None:
        with contextlib.suppress(lyquor.ClosedError):
            self.a.explain(), self.a.counters(), self.b.address, repr(self.b)

    @precondition(lambda self: self.number > 20)
    @rule()
    def close(self) -> None:
        self.b.close(0)
        self.closed = True

    @invariant()
    def what_is_kept_stays(self) -> None:
        for thing, expected in self.kept:
            assert bytes(thing) == expected


TestCalls = Calls.TestCase
TestCalls.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
