#!/usr/bin/env python3
"""Reads what `cargo test` prints and prints TAP: a line for each test, and its output where it failed. Its argument is
what the lines begin with."""

import re
import sys

RESULT = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED)")


def main():
    label = sys.argv[1]
    passed = failed = 0
    source, noise = "", []
    for line in sys.stdin:
        line = line.rstrip("\n")
        if match := re.match(r"^\s+(?:Running (?:unittests )?(\S+)|Doc-tests (\S+))", line):
            source = match[1] or match[2]
        elif match := RESULT.match(line):
            good = match[2] == "ok"
            passed, failed = passed + good, failed + (not good)
            print(f"{'ok' if good else 'not ok'} - {label}: {source}: {match[1]}")
        else:
            noise.append(line)
    if failed or not passed or any(line.startswith("error") for line in noise):
        print(f"not ok - {label}: cargo test: its output follows")
        for line in noise:
            print("# " + line)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
