#!/usr/bin/env python3
"""The storm of storm.c, dialling, in Python: it sends numbered messages on three lanes, receives those of a storm in C,
and counts what is lost, twice, out of order or damaged. message.h says what a message is."""

import argparse
import json
import struct
import sys
import threading
import time

import numpy

import lyquor
from lyquor import Lane

START, SETTLE, SEND = 60.0, 60.0, 0.1  # seconds, as in storm.c
OUTBOX = 1 << 20
MIX = 8
HEAD = struct.Struct("<IBBHQQQ")
MAGIC = 0x6D726F74
WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix64(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
    return x ^ x >> 31


def flow_of(seed, from_dialler, lane):
    return mix64((mix64(seed) + (from_dialler << 8 | lane) + 1) & WORD)


def key_of(flow, number):
    return mix64((flow + number * GOLDEN) & WORD)


def content(key, size):
    """The bytes behind the head."""
    words = size // 8 + 1
    x = (numpy.arange(words, dtype=numpy.uint64) + numpy.uint64(key)) * numpy.uint64(GOLDEN)
    return (x ^ x >> numpy.uint64(32)).tobytes()[:size]


def head(key, lane, number, size, final):
    total = mix64((mix64(key ^ size) + (MAGIC << 32 | lane << 8 | final)) & WORD)
    return HEAD.pack(MAGIC, lane, final, 0, number, size, total)


def make(flow, lane, number, size, final=0):
    key = key_of(flow, number)
    return head(key, lane, number, size, final) + content(key, size - HEAD.size)


class Account:
    """What arrived on one lane, held against what should have: every number once, in order."""

    def __init__(self):
        self.next = self.received = self.duplicated = self.reordered = self.final = 0
        self.missing = set()

    def enter(self, number, final):
        self.received += 1
        self.final += final
        if number >= self.next:
            self.missing.update(range(self.next, min(number, self.next + 100_000)))
            self.next = number + 1
        elif number in self.missing:
            self.missing.remove(number)
            self.reordered += 1
        else:
            self.duplicated += 1


class Storm:
    """One end of the storm."""

    def __init__(self, options):
        self.options = options
        self.over = threading.Event()
        self.accounts = {lane: Account() for lane in Lane}
        self.sent = self.misframed = self.ups = self.downs = self.restarts = self.bytes = 0
        self.first = self.last = self.silence = 0.0
        self.lock = threading.Lock()
        self.failure = None

    def run(self, driver):
        o = self.options
        self.ep = driver.dial(o.connect, outbox_bytes=OUTBOX, max_message=max(o.huge, 1 << 20),
                              keepalive=o.keepalive_ms / 1000 if o.keepalive_ms else None)
        self.ep.wait_up(START)
        threads = [threading.Thread(target=self.send_lane, args=(lane,), daemon=True)
                   for lane in (Lane.NORMAL, Lane.URGENT, Lane.BULK)]
        threads += [threading.Thread(target=self.move, daemon=True)] * bool(o.moves)
        for thread in threads:
            thread.start()
        timer = threading.Timer(o.seconds, self.over.set)
        timer.start()
        complete = self.receive()
        timer.cancel()
        self.over.set()
        for thread in threads:
            thread.join(SETTLE)
        if complete:
            self.ep.flush(SETTLE)
        return complete

    def receive(self):
        """Takes all that comes until each lane has had its final; whether it came to that."""
        items = iter(self.ep.items())
        while sum(account.final for account in self.accounts.values()) < 3:
            item = items.next(SETTLE + self.options.seconds)
            match item:
                case lyquor.Message():
                    self.book(item)
                case lyquor.Up():
                    self.ups += 1
                case lyquor.Down():
                    self.downs += 1
                case lyquor.Restarted():
                    self.restarts += 1
                case lyquor.Closed() | None:
                    self.failure = item and item.error
                    return False
        return True

    def book(self, msg):
        now = time.monotonic()
        self.first = self.first or now
        self.silence = max(self.silence, now - (self.last or now))
        self.last = now
        self.bytes += len(msg)
        with msg.view() as view:
            good = len(view) >= HEAD.size and HEAD.unpack_from(view)
            if not good or not self.is_good(msg, view, *good):
                self.misframed += 1
                return
        self.accounts[msg.lane].enter(good[4], good[2])

    def is_good(self, msg, view, magic, lane, final, zero, number, size, total):
        key = key_of(flow_of(self.options.seed, 0, msg.lane), number)
        if view[:HEAD.size] != head(key, lane, number, size, final) or (magic, zero) != (MAGIC, 0):
            return False
        if size != len(view) or lane != msg.lane or number != msg.id or number & 0xFFFF != msg.channel:
            return False
        return bytes(view[HEAD.size :]) == content(key, size - HEAD.size)

    def offer(self, lane, number, message, until=0.0):
        """Sends a message, waiting for room as long as the storm goes on, or until then. False: its number is free."""
        while True:
            try:
                id = self.ep.send(message, lane=lane, channel=number & 0xFFFF, timeout=SEND)
            except lyquor.TimedOut:
                if self.over.is_set() and time.monotonic() >= until:
                    return False
            except lyquor.ClosedError:
                return False
            else:
                assert id == number, f"message {number} of lane {lane} was numbered {id}"
                return True

    def send_lane(self, lane):
        flow = flow_of(self.options.seed, 1, lane)
        sent = self.send_huge(lane, flow) if lane == Lane.BULK else self.send_mixed(lane, flow)
        sent += self.offer(lane, sent, make(flow, lane, sent, HEAD.size, 1), time.monotonic() + SETTLE)
        with self.lock:
            self.sent += sent

    def send_mixed(self, lane, flow):
        o, number = self.options, 0
        while not self.over.is_set():
            dice, size = mix64(key_of(flow, number)), o.small
            if lane == Lane.NORMAL and dice % MIX == 0:
                size = o.large - (dice >> 32) % (o.large // 2)
            if not self.offer(lane, number, make(flow, lane, number, size)):
                break
            number += 1
        return number

    def send_huge(self, lane, flow):
        number, due = 0, time.monotonic()
        while not self.over.wait(max(due - time.monotonic(), 0)):
            if not self.offer(lane, number, make(flow, lane, number, self.options.huge)):
                break
            number += 1
            due += self.options.huge_every_ms / 1000
        return number

    def move(self):
        k = 0
        while not self.over.wait(1 / self.options.moves):
            self.ep.set_worker(1 + k % 2)
            k += 1

    def report(self, driver, complete):
        accounts = self.accounts.values()
        counts = {name: sum(getattr(account, name) for account in accounts)
                  for name in ("received", "duplicated", "reordered")}
        counts["lost"] = sum(len(account.missing) for account in accounts)
        bulk = self.accounts[Lane.BULK]
        row = {"role": "connect", "sent": self.sent, **counts, "misframed": self.misframed, "strays": 0,
               "huge": bulk.received - bulk.final, "ups": self.ups, "downs": self.downs, "restarts": self.restarts,
               "moves": driver.counters().moves, "switches": 0, "seconds": self.last - self.first,
               "bytes_per_s": self.bytes / (self.last - self.first + 1e-9),
               "longest_silence_ms": self.silence * 1000, "complete": complete}
        print(json.dumps(row), flush=True)
        wrong = counts["lost"] + counts["duplicated"] + counts["reordered"] + self.misframed + self.restarts
        return complete and not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connect", required=True)
    parser.add_argument("--also", help="not used: it does not switch")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", type=int, default=64)
    parser.add_argument("--large", type=int, default=20480)
    parser.add_argument("--huge", type=int, default=64 << 20)
    parser.add_argument("--huge-every-ms", type=int, default=10000)
    parser.add_argument("--keepalive-ms", type=int, default=0)
    parser.add_argument("--moves", type=int, default=0)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--json", action="store_true")
    storm = Storm(parser.parse_args())
    with lyquor.Driver() as driver:
        complete = storm.run(driver)
        good = storm.report(driver, complete)
        if not complete:
            print(f"storm.py: {storm.failure}\n{storm.ep.explain()}", file=sys.stderr)
        if storm.options.hold:
            sys.stdin.read()
        storm.ep.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
