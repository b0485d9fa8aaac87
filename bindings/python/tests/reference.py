"""Prints docs/python-api.md, the reference, from the docstrings: python bindings/python/tests/reference.py."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lyquor
from lyquor import aio

HEAD = """# lyquor for Python: reference

Made from the docstrings, which `help(lyquor)` shows as well; [python.md](python.md) is the tutorial.
"""


def signature(thing: Any) -> str:
    """Arguments and result, without the object itself."""
    text = str(inspect.signature(thing)).replace("'", "")
    text = re.sub(r"<(\w+\.\w+): \d+>", r"\1", text)
    text = re.sub(r"\b[EIL]\b", lambda found: {"E": "Endpoint", "I": "Inbox", "L": "Listener"}[found[0]], text)
    return re.sub(r"^\(self(, /)?(, )?", "(", text)


def notes(cls: type[Any]) -> dict[str, str]:
    """What stands below the fields of a class, by their names."""
    found = {}
    (body,) = (node.body for node in ast.parse(Path(str(inspect.getsourcefile(cls))).read_text()).body
               if isinstance(node, ast.ClassDef) and node.name == cls.__name__)  # fmt: skip
    for field, note in zip(body, body[1:], strict=False):
        if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
            target = field.target if isinstance(field, ast.AnnAssign) else getattr(field, "targets", [None])[0]
            if isinstance(target, ast.Name):
                found[target.id] = str(note.value.value)
    return found


def fields(cls: type[Any]) -> list[str]:
    """Of an enumeration, a tuple or an event."""
    if issubclass(cls, enum.Enum):
        return [member.name for member in cls]
    if issubclass(cls, tuple):
        return list(cls._fields)  # type: ignore[attr-defined]
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def members(cls: type[Any], leave: type[Any]) -> Iterator[tuple[str, Any]]:
    """What users find in a class and its bases, but not in leave, by name."""
    for name in sorted(dir(cls)):
        thing = inspect.getattr_static(cls, name)
        if not name.startswith("_") and thing is not inspect.getattr_static(leave, name, None):
            if inspect.getdoc(thing) and (callable(thing) or inspect.isdatadescriptor(thing)):
                yield name, thing


def text_of(cls: type[Any], where: str) -> Iterator[str]:
    """The section of a class."""
    base = next((base for base in cls.__mro__[1:] if not base.__module__.startswith("lyquor")), object)
    ours = [b.__name__ for b in cls.__mro__[1:] if issubclass(b, (lyquor.LyquorError, lyquor.Event))]
    yield f"### {where}.{cls.__name__}{f' ({ours[0]})' if ours else ''}\n"
    yield f"{inspect.getdoc(cls)}\n"
    if issubclass(cls, BaseException):
        builtin = next(b.__name__ for b in cls.__mro__ if b.__module__ == "builtins")
        yield f"Also `{builtin}`.\n" if builtin not in ("Exception", ours[0] if ours else "") else ""
        return
    if cls.__name__ == "Driver":
        yield f"    Driver{signature(cls)}\n"
    noted = notes(cls) if fields(cls) else {}
    for name in fields(cls):
        yield f"- `{name}`" + (f": {noted[name]}" if name in noted else "")
    if fields(cls):
        yield ""
        base = tuple if issubclass(cls, tuple) else int if issubclass(cls, int) else lyquor.Event
    for name, thing in members(cls, base):
        if name in fields(cls):
            continue
        what = signature(thing) if callable(thing) else ""
        awaited = "await " if inspect.iscoroutinefunction(thing) or (where == "lyquor.aio" and name == "send") else ""
        yield f"- `{awaited}{name}{what}`: {' '.join(str(inspect.getdoc(thing)).split())}"
    yield ""


def reference() -> str:
    """The whole page."""
    lines = [HEAD]
    things = {name: getattr(lyquor, name) for name in lyquor.__all__}
    classes = [thing for thing in things.values() if isinstance(thing, type)]
    errors = [cls for cls in classes if issubclass(cls, BaseException)]
    events = [cls for cls in classes if issubclass(cls, lyquor.Event)]
    others = [cls for cls in classes if cls not in errors + events]
    lines.append(f"## lyquor\n\n{inspect.getdoc(lyquor)}\n")
    for name, thing in things.items():
        if not isinstance(thing, type):
            lines.append(f"- `{name}{signature(thing)}`: {inspect.getdoc(thing)}")
    for cls in others:
        lines += ["", *text_of(cls, "lyquor")]
    lines.append(f"## lyquor.aio\n\n{inspect.getdoc(aio)}\n")
    for name in aio.__all__:
        lines += text_of(getattr(aio, name), "lyquor.aio")
    for title, some in (("Events", events), ("Exceptions", errors)):
        lines.append(f"## {title}\n")
        for cls in sorted(some, key=lambda cls: (cls not in (lyquor.Event, lyquor.LyquorError), cls.__name__)):
            lines += text_of(cls, "lyquor")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


if __name__ == "__main__":
    print(reference(), end="")
