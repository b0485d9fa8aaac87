"""The rows of the benchmark and the bars that the design sets: each is a ratio between two contenders of a row."""

from contenders import lyqperf, peer

SMALL = (8, 64, 256, 1024)  # Messages per second count here,
LARGE = (4096, 16384, 65536, 1 << 20)  # and bytes per second here.
FAR_SIZES = (1024, 65536)  # In the log, and beside it.
ENDPOINTS = (1, 100, 1000)
ROUND_TRIP = 64
LONG = 16 << 20


# What a row measures: how the JSON line becomes the figure, and how the figure is printed.
UNITS = {
    "messages/s": (lambda r: r["messages"] / r["seconds"], lambda v: f"{v / 1e6:.3f} M/s"),
    "bytes/s": (lambda r: r["bytes"] / r["seconds"], lambda v: f"{v / 1e6:.0f} MB/s"),
    "us": (lambda r: r["p50_us"], lambda v: f"{v:.1f} us"),
    "bytes/s beside": (lambda r: r["beside_mb_per_s"] * 1e6, lambda v: f"{v / 1e6:.0f} MB/s"),
}


class Bar:
    """`ours` over `theirs` has to be at least `least`, or at most `most`, by the medians of the rounds' ratios.

    `ours` at or below `enough` is good in any case.
    """

    def __init__(self, ours, theirs, least=None, most=None, p99=False, enough=None):
        self.ours, self.theirs, self.least, self.most, self.p99 = ours, theirs, least, most, p99
        self.enough = enough

    def what(self):
        return f"{self.ours} p99" if self.p99 else self.ours

    def holds(self, ratio, ours):
        if self.enough is not None and ours <= self.enough:
            return True
        return ratio >= self.least if self.least is not None else ratio <= self.most

    def text(self):
        text = f">= {self.least} x {self.theirs}" if self.least is not None else f"<= {self.most} x {self.theirs}"
        return text if self.enough is None else f"{text}, or {self.enough:g} us"


class Row:
    """Contenders that run next to each other in every round."""

    def __init__(self, name, unit, contenders, bars, pilot, seconds=0):
        self.name, self.unit, self.contenders, self.bars, self.pilot = name, unit, contenders, bars, pilot
        self.seconds = seconds  # How long a run should take at least; all move as much then.
        self.value, self.figure = UNITS[unit]


# A network far away: bytes take this long each way. What fills it has to have twice that under way at any time.
FAR = ("--delay", "50ms")
# Windows and outboxes take ten round trips to become large enough: a small part of such a run.
FAR_SECONDS = 15


def rows():
    made = []
    for size in SMALL:
        made.append(Row(f"{size} B", "messages/s",
                        [lyqperf("lyquor", "thr", size), peer("libzmq", "zmq_thr", size)],
                        [Bar("lyquor", "libzmq", least=3.0)], 200_000))
    for size in LARGE:
        made.append(Row(f"{size} B", "bytes/s",
                        [lyqperf("lyquor", "thr", size), peer("libzmq", "zmq_thr", size), peer("raw", "raw_thr", size)],
                        [Bar("lyquor", "raw", least=0.9)], max(200, (64 << 20) // size)))
    for size in FAR_SIZES:
        made.append(Row(f"{size} B, +50 ms", "bytes/s",
                        [lyqperf("lyquor", "thr", size, relay=FAR), peer("raw", "raw_thr", size, relay=FAR)],
                        [Bar("lyquor", "raw", least=0.8)], (2 << 30) // size, FAR_SECONDS))
    many = [lyqperf(f"lyquor x{n}", "thr", ROUND_TRIP, "--endpoints", str(n), "--workers", "2") for n in ENDPOINTS]
    made.append(Row("endpoints, 64 B", "messages/s", many,
                    [Bar(f"lyquor x{ENDPOINTS[-1]}", f"lyquor x{ENDPOINTS[0]}", least=0.7)], 500_000))
    made.append(Row("round trip, 64 B", "us", [
        lyqperf("callback", "lat", ROUND_TRIP, "--from", "callback"),
        lyqperf("thread", "lat", ROUND_TRIP, "--from", "thread"),
        # One worker each: workers that poll need a processor of their own, and the two sides share the machine.
        lyqperf("busy poll", "lat", ROUND_TRIP, "--from", "callback", "--busy-poll", "50", "--workers", "1"),
        peer("libzmq", "zmq_lat", ROUND_TRIP),
        peer("raw", "raw_lat", ROUND_TRIP),
    ], [
        Bar("callback", "raw", most=1.3),
        Bar("callback", "raw", most=1.3, p99=True),
        Bar("thread", "libzmq", most=1.0),
        Bar("thread", "libzmq", most=1.0, p99=True),
        Bar("busy poll", "raw", most=1.0),
    ], 3000))
    made.append(Row("urgent, 64 B", "us", [
        lyqperf("idle", "lat", ROUND_TRIP),
        lyqperf("beside bulk", "lat", ROUND_TRIP, "--beside", str(LONG)),
        lyqperf("1 kHz, beside", "lat", ROUND_TRIP, "--beside", str(LONG), every=1e-3),
    ], [
        Bar("beside bulk", "idle", most=3.0, p99=True, enough=2000),
        Bar("1 kHz, beside", "idle", most=3.0, p99=True, enough=2000),
    ], 3000))
    made.append(Row("bulk, 16 MiB", "bytes/s beside", [
        lyqperf("alone", "lat", ROUND_TRIP, "--beside", str(LONG), every=0.1),
        lyqperf("1 kHz urgent", "lat", ROUND_TRIP, "--beside", str(LONG), every=1e-3),
        lyqperf("urgent at most", "lat", ROUND_TRIP, "--beside", str(LONG)),
    ], [
        # As many as round trips allow, 20 000 a second, take the processor time that the bulk would need: no bar.
        Bar("1 kHz urgent", "alone", least=0.8),
    ], 3000))
    return made
