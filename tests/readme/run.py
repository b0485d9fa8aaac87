#!/usr/bin/env python3
"""Compiles and runs the programs in README.md, so that what newcomers copy works. Prints TAP.

A fenced block in C or Go with a main function is a program. It has to end by itself with status 0; if the next block is
marked `text`, that is what it prints.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "readme"
RUN_SECONDS = 30
MAIN = {"c": "int main(", "go": "func main("}


def programs(text):
    """Yields (number of the line, language, source, output or None)."""
    blocks = [(text.count("\n", 0, m.start()) + 1, m[1], m[2])
              for m in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.M | re.S)]
    for i, (line, language, source) in enumerate(blocks):
        if MAIN.get(language, "\0") in source:
            following = blocks[i + 1] if i + 1 < len(blocks) else (0, "", "")
            yield line, language, source, following[2] if following[1] == "text" else None


def compile_program(language, source, name):
    """Gives the compiler's command; C takes the flags of the installed package, as a reader would."""
    WORK.mkdir(parents=True, exist_ok=True)
    program = WORK / name
    if language == "go":
        directory = WORK / f"{name}.d"  # Inside the module, so that its packages are found.
        directory.mkdir(exist_ok=True)
        (directory / "main.go").write_text(source)
        return program, ["go", "build", "-o", str(program), str(directory / "main.go")]
    (WORK / f"{name}.c").write_text(source)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "lyquor"], capture_output=True, text=True, check=True)
    return program, [os.environ.get("CC", "gcc"), "-Wall", "-Wextra", "-Werror", str(WORK / f"{name}.c"),
                     "-o", str(program), *flags.stdout.split()]


def try_program(line, language, source, output):
    """Gives what went wrong, or None."""
    program, command = compile_program(language, source, f"line{line}")
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if made.returncode != 0:
        return "does not compile\n" + made.stdout + made.stderr
    try:
        ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=RUN_SECONDS,
                             stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"does not end within {RUN_SECONDS} s"
    if ran.returncode != 0:
        return f"ends with status {ran.returncode}\n{ran.stdout}{ran.stderr}"
    if output is not None and ran.stdout != output:
        return f"prints:\n{ran.stdout}instead of:\n{output}"
    return None


def main():
    failed = False
    for line, language, source, output in programs((ROOT / "README.md").read_text()):
        wrong = try_program(line, language, source, output)
        print(f"{'not ok' if wrong else 'ok'} - README.md:{line}: the program in {language}")
        for text in (wrong or "").splitlines():
            print("# " + text)
        failed = failed or wrong is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
