"""A door is a module without an underscore in its path. What it exports is true, in order, public and documented."""

import importlib
import inspect
from collections import Counter
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

import or_stream


def find_doors() -> list[str]:
    source = Path(__file__).parents[1] / "src"
    names = (path.relative_to(source).with_suffix("").parts for path in source.rglob("*.py"))
    doors = (parts[:-1] if parts[-1] == "__init__" else parts for parts in names)
    return sorted(".".join(parts) for parts in doors if not any(part.startswith("_") for part in parts))


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then the rest, each by name: the order `ruff check --fix` makes (RUF022)."""
    return sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[:1].isupper() else 2, name))


def has_docstring(thing: object) -> bool:
    """Whether a class or a function says what it is; a dataclass's made-up docstring does not. Constants and aliases cannot."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return True
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    made_up = is_dataclass(thing) and inspect.isclass(thing) and (text or "").startswith(f"{thing.__name__}(")
    return bool(text) and not made_up


def faults_of(door: ModuleType) -> list[str]:
    """What is wrong with a door, one sentence each."""
    names = getattr(door, "__all__", None)
    if names is None:
        return ["has no __all__"]
    missing = object()
    things = {name: getattr(door, name, missing) for name in names}
    return [
        *([] if door.__doc__ else ["has no docstring"]),
        *([] if list(names) == in_order(names) else [f"__all__ is not in order: {in_order(names)}"]),
        *(f"exports {name} {times} times" for name, times in Counter(names).items() if times > 1),
        *(f"exports {name}, which is private" for name in things if name.startswith("_")),
        *(f"exports {name}, which it does not have" for name, thing in things.items() if thing is missing),
        *(f"exports {name}, which has no docstring" for name, thing in things.items() if not has_docstring(thing)),
    ]


def strangers_of(package: ModuleType, doors: list[ModuleType]) -> list[str]:
    """The names of a package that no door exports, or that mean something else there (a folder of the same name, say)."""
    return [
        name
        for name in package.__all__
        if not any(name in door.__all__ and getattr(door, name) is getattr(package, name) for door in doors)
    ]


def door(docstring: str | None = "A door.", **contents: object) -> ModuleType:
    module = ModuleType("door", docstring)
    vars(module).update(contents)
    return module


def documented():
    """Does nothing."""


def undocumented():
    pass


DOORS = find_doors()


@pytest.mark.parametrize("name", DOORS)
def test_door(name: str):
    """A door's `__all__` is true, unique, in order and public, and what it exports is documented."""
    assert [] == faults_of(importlib.import_module(name))


def test_package_exports_only_what_doors_export():
    """The everyday names are the same objects that the doors export."""
    doors = [importlib.import_module(name) for name in DOORS if name != "or_stream"]
    assert [] == strangers_of(or_stream, doors)


def test_doors_are_found():
    """The search for doors finds the package, its modules and no room."""
    assert {"or_stream", "or_stream.errors", "or_stream.events"} <= set(DOORS)
    assert not [name for name in DOORS if "._" in name]


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        (door(), "has no __all__"),
        (door(None, __all__=[]), "has no docstring"),
        (door(__all__=["b", "a"], a=1, b=1), "__all__ is not in order: ['a', 'b']"),
        (door(__all__=["a", "a"], a=1), "exports a 2 times"),
        (door(__all__=["_a"], _a=1), "exports _a, which is private"),
        (door(__all__=["a"]), "exports a, which it does not have"),
        (door(__all__=["a"], a=undocumented), "exports a, which has no docstring"),
        (door(__all__=["A"], A=type("A", (Exception,), {})), "exports A, which has no docstring"),
    ],
)
def test_fault_is_found(faulty: ModuleType, fault: str):
    """Each fault of a door is found and is the only one found."""
    assert [fault] == faults_of(faulty)


def test_faultless_door():
    """Constants come before classes and classes before functions, and a constant needs no docstring."""
    assert [] == faults_of(door(__all__=["LIMIT", "Door", "documented"], LIMIT=1, Door=Exception, documented=documented))


def test_stranger_is_found():
    """A name that no door exports, or exports as another object, is a stranger."""
    package = door(__all__=["mine", "other", "same"], mine=1, other=documented, same=documented)
    assert ["mine", "other"] == strangers_of(package, [door(__all__=["other", "same"], other=undocumented, same=documented)])
