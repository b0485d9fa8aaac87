"""python -m lyquor.cat: netcat for lyquor, the same as lyqcat.

One thread reads standard input and sends; the main thread takes what comes and writes it. What is not written is not
acknowledged, and what is not acknowledged stops the sender.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import lyquor

DONE, USAGE, CONNECTION, IO = range(4)  # exit status; after a signal 128 and its number
BLOCK = 64 << 10
MESSAGE_MAX = 1 << 20
BUFFER_BYTES = 8 << 20  # of each direction
OUTPUT_BYTES = 128 << 10  # small messages are gathered into writes of this size
STDIN, STDOUT = 0, 1

EPILOG = """\
ADDRESS is tcp://HOST:PORT (port 0: any free one), or fd://N for an open socket.

The end of the input ends this direction alone; it exits when both have ended, or when the peer closes. A listener
whose input is a terminal and whose output is not does not read the terminal.

Exit status: 0 done; 1 wrong usage; 2 no connection, or one that ended before everything was sent or received;
3 standard input or output failed; 128 plus its number after SIGINT or SIGTERM, which the peer sees as a broken
connection.
"""


class Stopped(BaseException):
    """A signal came."""

    def __init__(self, number: int) -> None:
        self.number = number


class Failed(Exception):
    """The transfer cannot go on: what is to be said, and the exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Cat:
    """Standard input and output, joined to one endpoint."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lines, self.block = options.messages
        self.sent = self.sent_bytes = self.received = self.received_bytes = 0
        self.input_over = False
        self.failure: Failed | None = None
        self.started = 0.0
        self.output: list[bytes] = []
        self.gathered = 0

    def run(self) -> None:
        """Moves everything, both ways. After a failure nothing is closed: the peer is to see a broken connection."""
        transfer: dict[str, Any] = {"outbox_bytes": BUFFER_BYTES, "window_bytes": BUFFER_BYTES, "resume": 0}
        self.driver = driver = lyquor.Driver(1)  # one endpoint is driven by one worker at a time
        if self.options.listen:
            with driver.listen(self.options.address, **transfer) as listener:
                if not self.options.quiet:
                    print(f"listening on {listener.address}", file=sys.stderr, flush=True)
                ep = listener.accept()
        else:
            ep = driver.dial(self.options.address, **transfer)
        self.where = ep.address
        self.exchange(ep)
        ep.close(math.inf)
        ep.wait_closed()
        driver.close(0)
        driver.wait_closed()

    def exchange(self, ep: lyquor.Endpoint) -> None:
        """Sends what comes in and writes what comes, until both have ended."""
        reads = not (self.options.listen and os.isatty(STDIN) and not os.isatty(STDOUT))
        if reads:
            threading.Thread(target=self.read_input, args=(ep,), daemon=True).start()
        else:
            self.input_over = True
            ep.end()
        ended = False
        for item in ep.items():
            match item:
                case lyquor.Message():
                    self.put(item)
                case lyquor.Up():
                    self.started = self.started or time.monotonic()
                    self.tell(f"connected: {self.where}")
                case lyquor.Ended():
                    ended = True
                    self.tell(f"{self.where} sends no more")
                case lyquor.Closed():
                    self.flush()
                    if item.error is not None:
                        raise Failed(CONNECTION, f"{self.where}: {item.error}")
                    if not self.input_over:
                        raise Failed(CONNECTION, f"{self.where}: the peer closed before all input was sent")
                    return
                case lyquor.TimerDue():  # the input is over
                    pass
            if not ep._inbox._pulled:  # what follows may be long in coming
                self.flush()
            if self.failure is not None:
                raise self.failure
            if ended and self.input_over:
                self.flush()
                return

    def read_input(self, ep: lyquor.Endpoint) -> None:
        """Sends standard input to its end; in a thread of its own."""
        try:
            with open(STDIN, "rb", buffering=0, closefd=False) as file:
                self.send_lines(ep, file) if self.lines else self.send_blocks(ep, file)
            self.input_over = True  # before the peer knows, and may close
            ep.end()
        except OSError as error:
            refused = isinstance(error, lyquor.LyquorError)
            if not refused:  # what the endpoint says, its Closed says better
                self.failure = Failed(IO, f"standard input: {error.strerror or error}")
        except ValueError as error:
            self.failure = Failed(IO, f"standard input: {error}")
        self.driver.timer(0, ep)  # wakes the main thread

    def send(self, ep: lyquor.Endpoint, data: bytes) -> None:
        ep.send(data)
        self.sent += 1
        self.sent_bytes += len(data)

    def send_blocks(self, ep: lyquor.Endpoint, file: Any) -> None:
        while data := file.read(self.block):
            self.send(ep, data)

    def send_lines(self, ep: lyquor.Endpoint, file: Any) -> None:
        rest = b""
        while data := file.read(MESSAGE_MAX):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.send(ep, line)
            if len(rest) > MESSAGE_MAX:
                raise ValueError("a line is longer than 1048576 bytes; -m block takes any input")
        if rest:
            self.send(ep, rest)

    def put(self, message: lyquor.Message) -> None:
        """Gathers small messages."""
        data = message.data
        self.received += 1
        self.received_bytes += len(data)
        self.output.append(data + b"\n" if self.lines else data)
        self.gathered += len(data)
        if self.gathered > OUTPUT_BYTES:
            self.flush()

    def flush(self) -> None:
        data, self.output, self.gathered = b"".join(self.output), [], 0
        try:
            while data:
                data = data[os.write(STDOUT, data) :]
        except OSError as error:
            raise Failed(IO, f"standard output: {error.strerror}") from error

    def tell(self, text: str) -> None:
        if self.options.verbose:
            say(text)

    def stats(self) -> str:
        seconds = time.monotonic() - self.started if self.started else 0.0
        total = self.sent_bytes + self.received_bytes
        return (
            f"sent {self.sent} messages, {self.sent_bytes} bytes; received {self.received} messages, "
            f"{self.received_bytes} bytes; {seconds:.3f} s, {total / 1e6 / seconds if seconds else 0.0:.1f} MB/s"
        )


def say(text: str) -> None:
    print(f"lyquor.cat: {text}", file=sys.stderr, flush=True)


def messages(kind: str) -> tuple[bool, int]:
    """What a message is: lines or not, and the size of a block."""
    name, colon, size = kind.partition(":")
    if name == "line" and not colon:
        return True, BLOCK
    if name == "block" and (not colon or size.isdecimal() and 1 <= int(size) <= MESSAGE_MAX):
        return False, int(size) if colon else BLOCK
    raise argparse.ArgumentTypeError(f"{kind}: line, block or block:SIZE is allowed, SIZE from 1 to {MESSAGE_MAX}")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"lyquor.cat: {message}\n{self.format_usage()}")


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m lyquor.cat", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Connect to ADDRESS, send standard input, and write what comes to standard output.",
    )  # fmt: skip
    p.add_argument("address", metavar="ADDRESS")
    p.add_argument("-l", "--listen", action="store_true", help="listen instead; says on standard error where")
    p.add_argument(
        "-m", "--messages", type=messages, default=(False, BLOCK), metavar="KIND",
        help="what a message is: block[:SIZE], what one read gives, at most SIZE bytes (65536); or line",
    )  # fmt: skip
    p.add_argument("--stats", action="store_true", help="print one line about the transfer at the end")
    p.add_argument("-v", "--verbose", action="store_true", help="say when the peer is there and when it has ended")
    p.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors and --stats")
    p.add_argument("-V", "--version", action="version", version=f"lyquor.cat {lyquor.__version__}")
    return p


def on_signal(number: int, _: Any) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def main() -> int:
    """The program; returns its exit status."""
    options = parser().parse_args()
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    cat = Cat(options)
    status = DONE
    try:
        cat.run()
    except Stopped as stopped:
        status = 128 + stopped.number
    except Failed as failed:
        say(str(failed))
        status = failed.status
    except (lyquor.LyquorError, ValueError) as error:
        say(f"{options.address}: {error}")
        status = CONNECTION
    if options.stats:
        say(cat.stats())
    sys.stderr.flush()
    if status != DONE:
        os._exit(status)  # the peer sees the broken connection that it is, and the input thread may sit in read()
    return status


if __name__ == "__main__":
    sys.exit(main())
