#!/usr/bin/env python3
"""Turns the output of `go test -json` (on standard input) into TAP: one line a test, with the output of failed ones.

A skipped test counts as failed: a test that may be left out proves nothing. So does a package that does not build or
that ends without saying which test was at fault (a panic outside a test, a race report, a timeout).
"""

import collections
import json
import sys


def main() -> int:
    output = collections.defaultdict(list)  # (package, test) -> lines
    blamed = set()  # packages in which a failed test was named
    failed = 0

    def not_ok(package: str, test: str, why: str) -> None:
        nonlocal failed
        failed += 1
        print(f"not ok - {package} {test}: {why}")
        for line in output[package, test][-200:]:
            print("# " + line.rstrip("\n"))

    for line in sys.stdin:
        try:
            event = json.loads(line)
        except ValueError:
            print("# " + line.rstrip("\n"))  # Compiler messages of old toolchains, and what -exec programs print.
            continue
        package = event.get("Package") or event.get("ImportPath", "")
        test, action = event.get("Test", ""), event.get("Action")
        if action in ("output", "build-output"):
            output[package, test].append(event.get("Output", ""))
        elif action == "build-fail":
            blamed.add(package.split(" ")[0])
            not_ok(package, "", "does not build")
        elif action == "pass" and test:
            print(f"ok - {package} {test}")
            output.pop((package, test), None)
        elif action == "skip" and test:
            not_ok(package, test, "skipped")
        elif action == "fail" and test:
            blamed.add(package)
            not_ok(package, test, "failed")
        elif action == "fail" and package not in blamed:
            not_ok(package, "", "failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
