"""Kills programs in mid stream with SIGKILL, again and again, and holds what is left of them against what the other
side was told: the log of a receiver against its sender's account and list, and what a sender had begun to send against
the log of a receiver that stays."""

import json
import random
import signal
import struct
import time

from processes import WORK, Failure, Process

LANES = ["NORMAL", "URGENT", "LOW", "BULK"]
DAMAGED = 255
RECORD = struct.Struct("<QII")      # number, lane, peer
RUNS = (0.02, 0.25)                 # seconds from the first message to the kill
PATIENCE = 60                       # seconds for what is to happen at once
LOOK = 256                          # records that are looked at for the first of a peer
FIRST_SECONDS = 0.001               # between two looks whether the first message is there


def records(path):
    """What a logger wrote, as (number, lane, peer). The last may be cut off: that one was not written."""
    data = path.read_bytes() if path.exists() else b""
    return [RECORD.unpack_from(data, at) for at in range(0, len(data) - RECORD.size + 1, RECORD.size)]


def await_record(path, process, peer=0):
    """Waits for the first message of a peer, without which there is nothing to lose."""
    end = time.monotonic() + PATIENCE
    while not path.exists() or not any(r[2] >= peer for r in last_records(path)):
        if time.monotonic() > end:
            raise Failure(f"no message within {PATIENCE} s {process.said()}")
        time.sleep(FIRST_SECONDS)


def last_records(path):
    """The last few of them: those of a new peer come behind those of the one before, but for what was on its way."""
    with path.open("rb") as log:
        whole = path.stat().st_size // RECORD.size
        log.seek(max(whole - LOOK, 0) * RECORD.size)
        data = log.read(min(whole, LOOK) * RECORD.size)
    return RECORD.iter_unpack(data[:len(data) // RECORD.size * RECORD.size])


class Ledger:
    """A sender, and the lines that it prints."""

    def __init__(self, address, seed):
        self.process = Process("ledger", "--connect", address, "--seed", str(seed))
        self.seen = 0

    def line(self):
        """Its next line."""
        self.process.await_lines(self.seen + 1, PATIENCE)
        self.seen += 1
        return json.loads(self.process.lines[self.seen - 1])


class Sums:
    """What all rounds together had."""

    def __init__(self):
        self.accepted = self.acknowledged = self.maybe = self.never = self.logged = self.unheard = self.rounds = 0

    def __str__(self):
        return (f"{self.rounds} kills; {self.accepted} messages accepted, {self.acknowledged} acknowledged, "
                f"{self.maybe} maybe delivered, {self.never} never sent; {self.logged} in the logs, of which "
                f"{self.unheard} were not acknowledged")


def hold(line, log, sums):
    """Holds a log against what the sender was told; gives what is wrong."""
    wrong = []
    logged = {lane: [] for lane in range(len(LANES))}
    for number, lane, _ in log:
        if lane == DAMAGED:
            wrong.append(f"message {number} arrived damaged")
        else:
            logged[lane].append(number)
    for lane, account in enumerate(line["lanes"]):
        name, first = LANES[lane], account["from"]
        accepted, acknowledged = account["accepted"], account["acknowledged"]
        maybe, never = account["maybe"], account["never"]
        if acknowledged + maybe + never != accepted:
            wrong.append(f"{name}: {acknowledged} + {maybe} + {never} are not {accepted}")
        if (account["listed_maybe"], account["listed_never"]) != (maybe, never):
            wrong.append(f"{name}: the list has {account['listed_maybe']} and {account['listed_never']}, the account "
                         f"{maybe} and {never}")
        if account["wrong"]:
            wrong.append(f"{name}: {account['wrong']} listed messages are not as they were sent")
        numbers = logged[lane]
        if numbers != list(range(first, first + len(numbers))):
            wrong.append(f"{name}: the log is not {first} and what follows, each once and in order")
        # Each message of the log is acknowledged or maybe delivered; each other one maybe delivered or never sent.
        if len(numbers) > acknowledged + maybe:
            wrong.append(f"{name}: {len(numbers)} are in the log, {acknowledged} + {maybe} may have been delivered")
        if len(numbers) < acknowledged:
            wrong.append(f"{name}: {acknowledged} are acknowledged, and {len(numbers)} in the log")
        sums.accepted += accepted
        sums.acknowledged += acknowledged
        sums.maybe += maybe
        sums.never += never
        sums.logged += len(numbers)
        sums.unheard += max(len(numbers) - acknowledged, 0)
    return wrong


def kill_receivers(tap, rounds, seed, manual):
    """Kills a receiver that logs, round for round, while one sender goes on."""
    name = "kill-log-manual" if manual else "kill-log"
    rng, sums, wrong = random.Random(seed), Sums(), []
    paths = [WORK / f"{name}-{i}.log" for i in range(rounds + 1)]
    running, ledger, address = [], None, "tcp://127.0.0.1:0"
    try:
        for i, path in enumerate(paths):
            path.unlink(missing_ok=True)
            flags = ["--manual"] if manual else []
            logger = Process("logger", "--listen", address, "--log", str(path), "--seed", str(seed), *flags)
            running.append(logger)
            address = logger.address()
            if ledger is None:
                ledger = Ledger(address, seed)
                running.append(ledger.process)
            else:
                wrong += [f"round {i}: {w}" for w in hold(ledger.line(), records(paths[i - 1]), sums)]
                sums.rounds += 1
            await_record(path, ledger.process)
            if i < rounds:
                time.sleep(rng.uniform(*RUNS))
                logger.signal(signal.SIGKILL)
                logger.child.wait()
                logger.end()
        ledger.process.child.stdin.close()
        status = ledger.process.ended()
        last = ledger.line()
        wrong += [f"the end: {w}" for w in hold(last, records(paths[-1]), sums)]
        for lane, account in enumerate(last["lanes"]):
            if account["from"] + account["accepted"] != account["sent"]:
                wrong.append(f"{LANES[lane]}: {account['from']} + {account['accepted']} are in accounts; "
                             f"{account['sent']} were accepted")
            if account["acknowledged"] != account["accepted"]:
                wrong.append(f"{LANES[lane]}: it ended in good order, and not all is acknowledged")
        if status != 0:
            wrong.append(f"the sender ended with status {status} {ledger.process.said()}")
    except Failure as failure:
        wrong.append(str(failure))
    finally:
        for process in running:
            process.end()
    for text in wrong[:20]:
        tap.note(text)
    tap.ok(not wrong and sums.rounds == rounds, f"{name}: {sums}")
    if not wrong:
        tap.ok(sums.maybe > 0, f"{name}: the kills came in mid stream")
        for path in paths:
            path.unlink(missing_ok=True)


def kill_senders(tap, rounds, seed):
    """Kills senders, one after the other, whose receiver stays and logs."""
    rng, wrong, running, total = random.Random(seed), [], [], 0
    path = WORK / "kill-sender.log"
    path.unlink(missing_ok=True)
    try:
        logger = Process("logger", "--listen", "tcp://127.0.0.1:0", "--log", str(path), "--seed", str(seed))
        running.append(logger)
        address = logger.address()
        begun = []
        for i in range(rounds):
            journal = WORK / "kill-sender.journal"
            journal.unlink(missing_ok=True)
            sender = Process("ledger", "--connect", address, "--seed", str(seed + i), "--journal", str(journal))
            running.append(sender)
            await_record(path, sender, peer=i)
            time.sleep(rng.uniform(*RUNS))
            sender.signal(signal.SIGKILL)
            sender.child.wait()
            sender.end()
            begun.append(struct.unpack("<4Q", journal.read_bytes()))
        logged = [[[] for _ in LANES] for _ in range(rounds)]
        for number, lane, peer in records(path):
            total += 1
            if lane == DAMAGED or peer >= rounds:
                wrong.append(f"message {number} of sender {peer} arrived damaged")
            else:
                logged[peer][lane].append(number)
        for i, lanes in enumerate(logged):
            for lane, numbers in enumerate(lanes):
                if numbers != list(range(len(numbers))):
                    wrong.append(f"sender {i}: {LANES[lane]}: the log is not each message once and in order")
                if len(numbers) > begun[i][lane]:
                    wrong.append(f"sender {i}: {LANES[lane]}: {len(numbers)} arrived, {begun[i][lane]} were begun")
        if logger.child.poll() is not None:
            wrong.append(f"the receiver ended {logger.said()}")
    except Failure as failure:
        wrong.append(str(failure))
    finally:
        for process in running:
            process.end()
    for text in wrong[:20]:
        tap.note(text)
    tap.ok(not wrong, f"kill-sender: {rounds} kills of a sender; its receiver has {total} messages once, in order")
    if not wrong:
        path.unlink(missing_ok=True)


def run(tap, rounds, seed):
    """All of it."""
    kill_receivers(tap, rounds, seed, manual=False)
    kill_receivers(tap, rounds, seed, manual=True)
    kill_senders(tap, rounds, seed)
