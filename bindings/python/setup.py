"""Builds the package: liblyquor.so by Go, as the Makefile of the repository does, and the extension beside it.

In a source distribution the repository's sources lie in library/.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
ROOT = HERE / "library" if (HERE / "library").is_dir() else HERE.parent.parent
SOURCES = ("Makefile", "LICENSE", "go.mod", "go.sum", "include", "capi", "engine")  # of library/


def release() -> str:
    """The library's release, which is the package's as well."""
    found = re.search(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    if not found:
        sys.exit(f"lyquor: {ROOT} holds no sources of lyquor")
    return found[1]


def need_tools() -> None:
    """Ends with one sentence where a tool is missing."""
    if sys.platform != "linux":
        sys.exit("lyquor: this release needs Linux")
    go = re.search(r"^go (\S+)$", (ROOT / "go.mod").read_text(), re.M)
    needed = {
        os.environ.get("GO", "go"): f"Go, at least version {go[1] if go else '1.26'} (https://go.dev/dl)",
        os.environ.get("CC", "cc").split()[0]: "a C compiler (as gcc)",
        "make": "make",
        "objdump": "binutils",
    }
    missing = [what for tool, what in needed.items() if shutil.which(tool) is None]
    if missing:
        sys.exit(f"lyquor: please install {', '.join(missing)}: liblyquor.so is built from source; or install a wheel")


class Build(build_ext):
    """Builds the library first; the extension is linked to it, and finds it in its own directory."""

    def run(self) -> None:
        need_tools()
        if subprocess.run(["make", "-s", "-C", str(ROOT), "build/liblyquor.so"]).returncode:
            sys.exit("lyquor: liblyquor.so was not built; what is said above tells why")
        super().run()
        package = HERE / "lyquor" if self.inplace else Path(self.build_lib) / "lyquor"
        shutil.copyfile(ROOT / "build" / "liblyquor.so", package / "liblyquor.so.0")

    def build_extensions(self) -> None:
        # An interpreter may name a directory of the machine that it was built on, to be looked at before our own.
        self.compiler.linker_so = [word for word in self.compiler.linker_so if not word.startswith("-Wl,-rpath")]
        super().build_extensions()

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(Path(self.build_lib) / "lyquor" / "liblyquor.so.0")]


class Wheel(bdist_wheel):
    """Tags the wheel with the oldest glibc that its files run with."""

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        needs = [(2, 17)]
        for library in Path(self.bdist_dir).rglob("*.so*"):
            symbols = subprocess.run(["objdump", "-T", str(library)], capture_output=True, text=True, check=True).stdout
            needs += [(int(a), int(b)) for a, b in re.findall(r"\(?GLIBC_(\d+)\.(\d+)", symbols)]
        if platform.startswith("linux_"):
            platform = "manylinux_{}_{}_".format(*max(needs)) + platform.removeprefix("linux_")
        return python, abi, platform


class Source(sdist):
    """Puts the library's sources into the distribution."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        for name in SOURCES:
            to = Path(base_dir) / "library" / name
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, to, ignore=shutil.ignore_patterns("*_test.go", "testdata"))
            else:
                to.parent.mkdir(exist_ok=True)
                shutil.copyfile(ROOT / name, to)


setup(
    version=release(),
    ext_modules=[
        Extension(
            "lyquor._lyquor",
            sources=sorted(str(path.relative_to(HERE)) for path in (HERE / "src").glob("*.c")),
            depends=[*map(str, (HERE / "src").glob("*.h")), str(ROOT / "include" / "lyquor.h")],
            include_dirs=[str(ROOT / "include")],
            library_dirs=[str(ROOT / "build")],
            libraries=["lyquor"],
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-cast-function-type"],
            extra_link_args=["-Wl,-rpath,$ORIGIN", "-s"],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": Build, "bdist_wheel": Wheel, "sdist": Source},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
