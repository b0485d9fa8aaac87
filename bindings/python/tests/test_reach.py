"""Every function of lyquor.h is reachable from Python."""

from __future__ import annotations

import inspect
import re

import lyquor
from conftest import ROOT
from lyquor import aio

# Where a program finds what a function does.
REACH = {
    "lyq_abi_version": "checked when lyquor is imported",
    "lyq_version": "lyquor.__version__",
    "lyq_has": "lyquor.has",
    "lyq_strerror": "lyquor.LyquorError.__init__",
    "lyq_detail": "lyquor.LyquorError.__init__",
    "lyq_set_logger": "logging: lyquor",
    "lyq_close": "lyquor.Endpoint.close lyquor.Listener.close lyquor.Driver.close lyquor.Timer.cancel",
    "lyq_wait": "lyquor.Endpoint.wait_up lyquor.Endpoint.flush lyquor.Endpoint.wait_closed lyquor.Driver.wait_closed",
    "lyq_quiesce": "lyquor.Endpoint.quiesce lyquor.Driver.quiesce",
    "lyq_resume": "lyquor.Endpoint.resume lyquor.Driver.resume",
    "lyq_set_ctx": "Message.endpoint: the object itself, with attributes",
    "lyq_explain": "lyquor.Endpoint.explain lyquor.Driver.explain",
    "lyq_counters": "lyquor.Endpoint.counters lyquor.Driver.counters",
    "lyq_worker_counters": "lyquor.Driver.counters",
    "lyq_process_counters": "lyquor.process_counters",
    "lyq_address": "lyquor.Endpoint.address lyquor.Listener.address",
    "lyq_driver_open": "lyquor.Driver.__init__",
    "lyq_listen": "lyquor.Driver.listen",
    "lyq_dial": "lyquor.Driver.dial",
    "lyq_set_worker": "lyquor.Endpoint.set_worker",
    "lyq_switch": "lyquor.Endpoint.switch",
    "lyq_on_recv": "loops pull instead: lyquor.Endpoint.__iter__ lyquor.aio.Endpoint.__aiter__",
    "lyq_end": "lyquor.Endpoint.end",
    "lyq_flush": "lyquor.aio.Endpoint.flush",
    "lyq_now": "lyquor.Driver.now",
    "lyq_timer_open": "lyquor.Driver.timer",
    "lyq_send": "lyquor.Endpoint.send_nowait lyquor.aio.Endpoint.send",
    "lyq_send_ttl": "lyquor.Endpoint.send",
    "lyq_send_wait": "lyquor.Endpoint.send",
    "lyq_wait_room": "lyquor.Endpoint.send",
    "lyq_sendv": "lyquor.Endpoint.send: of b''.join(parts)",
    "lyq_send_lent": "lyquor.Endpoint.send",
    "lyq_claim_open": "lyquor.Endpoint.send: with lend there is no copy to save",
    "lyq_commit": "lyquor.Endpoint.send",
    "lyq_account": "lyquor.Closed.accounts lyquor.PeerRestarted.accounts",
    "lyq_unacked": "lyquor.Closed.unacked lyquor.PeerRestarted.unacked",
    "lyq_ack": "lyquor.Endpoint.ack lyquor.Message.ack",
    "lyq_inbox_open": "lyquor.Driver.inbox",
    "lyq_inbox_bind": "lyquor.Listener.accept",
    "lyq_inbox_fd": "lyquor.Endpoint.fileno lyquor.Inbox.fileno",
    "lyq_recv": "lyquor.Endpoint.__iter__ lyquor.Endpoint.recv lyquor.Inbox.__iter__",
    "lyq_release": "lyquor.Message.release",
    "lyq_discard": "what was pulled and not handed out when the last reference goes",
    "lyq_retain": "lyquor.Message.view: what is pulled stays as long as it is held",
}


def header() -> str:
    return (ROOT / "include" / "lyquor.h").read_text()


def test_every_function_is_reachable() -> None:
    declared = re.findall(r"^[a-z][\w ]*[ *](lyq_\w+)\(", header(), re.M)
    assert sorted(declared) == sorted(REACH)


def test_what_reaches_exists() -> None:
    for where in REACH.values():
        for path in re.findall(r"lyquor(?:\.\w+)+", where):
            thing: object = aio if path.startswith("lyquor.aio.") else lyquor
            for name in path.removeprefix("lyquor.aio.").removeprefix("lyquor.").split("."):
                fields = getattr(thing, "__dataclass_fields__", {})
                assert hasattr(thing, name) or name in fields, path
                thing = getattr(thing, name, None)


def test_every_error_has_a_class() -> None:
    from lyquor import _errors

    codes = re.findall(r"^  LYQ_(E\w+) += -", header(), re.M)
    numbers = {name: getattr(lyquor._lyquor, name) for name in codes}
    assert len(codes) == 20 and set(numbers.values()) == set(_errors.CLASSES)
    for name, number in numbers.items():
        error = _errors.error_of(number, "why")
        assert (error.errno, error.code, error.detail) == (number, name, "why")
        assert str(error).endswith(": why")


def test_the_same_for_coroutines() -> None:
    for name in ("Driver", "Endpoint", "Inbox", "Listener"):
        here, there = getattr(lyquor, name), getattr(aio, name)
        public = {n for n in dir(here) if not n.startswith("_")}
        assert public - {n for n in dir(there) if not n.startswith("_")} <= {"quiesce"}, "waits, and is for tests"


def test_defaults_are_those_of_the_header() -> None:
    table = {name: int(value) for name, value in re.findall(r"[*|] +(\w+) +(\d+)(?= |$)", header(), re.M)}
    told = " ".join(f"{lyquor.Driver.__doc__} {lyquor.Driver.dial.__doc__}".split())
    assert inspect.signature(lyquor.Driver).parameters["workers"].default == table["workers"]
    assert f"of all windows, {table['memory_limit'] >> 30} GiB if 0" in told
    assert table["outbox_bytes"] == table["window_bytes"] and f"({table['window_bytes'] >> 20} MiB)" in told
    assert f"in bytes ({table['max_message'] >> 20} MiB)" in told
    assert f"is pinged ({table['keepalive_ms'] // 1000};" in told
    assert f"the handshake ({table['connect_ms'] // 1000})" in told
    listens = " ".join(str(lyquor.Driver.listen.__doc__).split())
    assert f"resume is {table['resume_ms'] // 1000} seconds by default" in listens


def test_all_is_documented() -> None:
    for module in (lyquor, aio):
        for name in module.__all__:
            thing = getattr(module, name)
            assert thing.__doc__, name
            for attribute in vars(thing) if isinstance(thing, type) else ():
                if not attribute.startswith("_") and callable(getattr(thing, attribute)):
                    assert getattr(thing, attribute).__doc__, f"{name}.{attribute}"
