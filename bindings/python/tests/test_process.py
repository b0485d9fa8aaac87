"""Signals, fork, exit and the interpreter's end: nothing hangs, nothing is said, nobody else notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PATIENCE, program, run

WAITS = {
    "recv": "ep.recv()",
    "for": "list(ep)",
    "accept": "other.accept()",
    "send": "ep.send_many(bytes(10_000) for _ in range(10**9))",
    "lent": "ep.send_many(bytes(100_000) for _ in range(10**9))",
    "flush": "ep.send(b'x'); ep.flush()",
    "wait_up": "nobody.wait_up()",
    "inbox": "inbox.recv()",
    "wait_closed": "ep.wait_closed()",
    "asyncio": "asyncio.run(forever())",
    "trio": "trio.run(forever)",
}
INTERRUPTED = """
    import asyncio, sys, threading, trio, lyquor, lyquor.aio
    from contextlib import suppress
    async def forever():
        async with lyquor.aio.Driver() as driver, driver.dial("tcp://127.0.0.1:1") as ep:
            async for msg in ep:
                pass
    with (
        lyquor.Driver() as driver, driver.listen("tcp://127.0.0.1:0") as listener, driver.listen("mem://x") as other,
        driver.dial("tcp://127.0.0.1:1") as nobody, driver.inbox() as inbox,
    ):
        with suppress(KeyboardInterrupt), driver.dial(listener.address) as ep:
            print("waits", flush=True)
            WAIT
            raise SystemExit("did not wait")
        print("interrupted")
        driver.close(0)
"""


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_ends_every_wait(wait: str) -> None:
    with program(INTERRUPTED.replace("WAIT", wait)) as process:
        assert process.stdout is not None and process.stdout.readline() == "waits\n"
        # It may not wait yet: that must not matter, for a signal is for ever.
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    if wait.startswith(("asyncio", "trio")):  # their loops may not be theirs to end yet
        assert "interrupted" in out or "KeyboardInterrupt" in err
        return
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


EXITS = {
    "live": "",
    "exit": "sys.exit()",
    "held messages": "kept = [b.recv(5), b.recv(5).view()]",
    "lent": "a.send(bytes(10**6)); a.send(bytes(200_000), timeout=0.01) if 0 else None",
    "threads": "[threading.Thread(target=list, args=(x,), daemon=True).start() for x in (a, b, b)]",
    "global iterator": "it = iter(b); m = next(it)",
    "closed": "driver.close(0)",
    "exception": "raise SystemExit(0)",
    "cycle": "a.self = a; b.it = b.items(); driver.me = driver",
}


@pytest.mark.parametrize("last", EXITS.values(), ids=EXITS)
def test_exit_with_live_endpoints(last: str) -> None:
    run(
        """
        import logging, sys, threading, warnings, lyquor
        warnings.simplefilter("ignore", ResourceWarning)
        logging.basicConfig(level=logging.CRITICAL)
        driver = lyquor.Driver()
        listener = driver.listen("tcp://127.0.0.1:0")
        a = driver.dial(listener.address)
        b = listener.accept(30)
        a.send_many([b"x" * 100, b"y" * 100_000])
        exec(sys.argv[1])
        """,
        last,
    )


def test_exit_without_a_close_warns() -> None:
    with program("import lyquor; driver = lyquor.Driver(); driver.dial('tcp://127.0.0.1:9').close(0)") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert "ResourceWarning: unclosed <lyquor.Driver>" in err


def test_fork() -> None:
    """A child gets a clear error, and its parent and their peers notice nothing."""
    out = run(
        """
        import gc, os, sys, warnings, lyquor
        with lyquor.Driver() as driver, driver.listen("tcp://127.0.0.1:0") as listener:
            with driver.dial(listener.address) as a, listener.accept(30) as b:
                a.send(b"before")
                it = iter(b)
                kept = next(it)
                assert kept.data == b"before"
                a.send(b"x" * 1000)
                untouched = b.recv(30)
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
                if pid == 0:
                    failed = 0
                    for call in (lambda: a.send(b"x"), lambda: a.send_nowait(b"x"), lambda: a.recv(), lambda: next(it),
                                 lambda: a.flush(), lambda: list(b.items()), lyquor.Driver, driver.inbox, a.explain,
                                 lambda: driver.dial("tcp://127.0.0.1:1"), lambda: a.wait_up(), a.counters, a.end):
                        try:
                            call()
                        except lyquor.ForkedError as error:
                            assert "fork" in str(error)
                        else:
                            failed += 1
                    assert kept.data == b"before"
                    for call in (lambda: untouched.data, untouched.view, lambda: bytes(untouched)):
                        try:
                            call()
                        except lyquor.ForkedError:
                            pass
                        else:
                            failed += 1
                    a.close(), driver.close(), listener.close()
                    del kept, it, untouched
                    gc.collect()
                    sys.exit(failed)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                assert kept.data == b"before"
                kept.release()
                a.send(b"after")
                print(b.recv(30).data)
                b.send(b"back")
                print(a.recv(30).data)
                a.close(0), b.close(0)
        """
    )
    assert out == "0\nb'after'\nb'back'\n"


SPAWNED = """
import sys, lyquor
def work(address):
    with lyquor.Driver() as driver, driver.dial(address) as ep:
        ep.send(b"from a child")
        return ep.recv(30).data
"""


def test_multiprocessing_spawn(tmp_path: object) -> None:
    module = os.path.join(str(tmp_path), "spawned_work.py")
    with open(module, "w") as file:
        file.write(SPAWNED)
    out = run(
        """
        import multiprocessing, sys
        sys.path.insert(0, sys.argv[1])
        import lyquor, spawned_work
        if __name__ == "__main__":
            with lyquor.Driver() as driver, driver.listen("tcp://127.0.0.1:0") as listener:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    result = pool.apply_async(spawned_work.work, (listener.address,))
                    with listener.accept(30) as ep:
                        ep.send(ep.recv(30))
                        print(result.get(30))
        """,
        str(tmp_path),
    )
    assert out == "b'from a child'\n"


def test_fork_pool_beside_a_live_endpoint() -> None:
    out = run(
        """
        import multiprocessing, warnings, lyquor
        warnings.simplefilter("ignore", DeprecationWarning)
        with lyquor.Driver() as driver, driver.listen("tcp://127.0.0.1:0") as listener:
            with driver.dial(listener.address) as a, listener.accept(30) as b:
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    print(sum(pool.map(abs, range(100))))
                a.send(b"still")
                print(b.recv(30).data)
                a.close(0), b.close(0)
        """
    )
    assert out == "4950\nb'still'\n"


def test_logs_go_into_logging() -> None:
    out = run(
        """
        import logging, sys, lyquor
        logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
        with lyquor.Driver() as driver, driver.listen("mem://log") as listener:
            driver.dial("mem://log").close(0)
        """
    )
    assert "lyquor endpoint.closed: " in out


def test_import_of_another_abi_is_refused() -> None:
    out = run(
        """
        import sys
        import lyquor._lyquor
        real = sys.modules["lyquor._lyquor"]
        for name in [name for name in sys.modules if name.startswith("lyquor")]:
            del sys.modules[name]
        class Old:
            def __getattr__(self, name):
                return (lambda: 0) if name == "abi_version" else getattr(real, name)
        sys.modules["lyquor._lyquor"] = Old()
        try:
            import lyquor
        except ImportError as error:
            print(error)
        """
    )
    assert "ABI" in out and "version 0" in out


def test_a_library_that_lacks_functions_is_refused(tmp_path: Path) -> None:
    stub = tmp_path / "liblyquor.so.0"
    (tmp_path / "map").write_text("LYQ_0 { global: lyq_version; local: *; };")
    (tmp_path / "stub.c").write_text('const char *lyq_version(void) { return "0.0.1"; }')
    named = f"-Wl,-soname,liblyquor.so.0,--version-script,{tmp_path / 'map'}"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", named, "-o", stub, tmp_path / "stub.c"], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-P", "-c", "import lyquor"], env=env, capture_output=True, text=True).stderr
    assert "ImportError: the liblyquor.so.0 that is loaded is older" in said
