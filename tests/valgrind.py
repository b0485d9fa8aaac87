#!/usr/bin/env python3
"""Judges what valgrind wrote as XML about an interpreter: tests/valgrind.py FILE. An error counts if the package's
extension or the library is on its stack; what the interpreter and others do on their own does not."""

import sys
import xml.etree.ElementTree

OURS = ("/lyquor/_lyquor.abi3.so", "/lyquor/liblyquor.so.0")


def ours(error):
    return any((frame.findtext("obj") or "").endswith(OURS) for frame in error.iter("frame"))


def text(error):
    what = error.findtext("what") or error.findtext("xwhat/text")
    frames = (f.findtext("fn") or f.findtext("obj") or f.findtext("ip") for f in error.find("stack").iter("frame"))
    return f"{error.findtext('kind')}: {what}\n" + "".join(f"    {frame}\n" for frame in frames)


def main():
    report = xml.etree.ElementTree.parse(sys.argv[1]).getroot()
    if report.findtext("status[last()]/state") != "FINISHED":
        sys.exit("valgrind did not come to its end")
    errors = list(report.iter("error"))
    found = [error for error in errors if ours(error)]
    for error in found:
        print(text(error))
    print(f"{len(found)} of {len(errors)} errors are ours")
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main())
