"""The architecture as far as a test can hold it: which way imports point, and how big things may get.

A rule takes modules and returns what is wrong with them, one sentence each. Every rule is run on the package, and on sources
that break it. A budget is raised by editing its number here, in a commit that says why.
"""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

FILE_LINES = 400
FUNCTION_LINES = 60
FOLDER_FILES = 10

# What may be imported inside a function: it is there only if the user installed the extra.
OPTIONAL_EXTRAS = {"PIL", "rich", "typer"}

# What else may be imported inside a function, or for its types alone, by which module: the package loads a layer when one of
# its names is used, and `Client.batch` and the catalogue of models are the doors to what most programs never use.
LATE_IMPORTS = {
    ("or_stream.__init__", "a computed name"),
    ("or_stream.client._client", "or_stream.batching"),
    ("or_stream.client._client", "or_stream.client._catalog"),
    ("pytest_or_stream", "or_stream.emulator.testing"),
}

# What `import or_stream` must not load: it costs start-up time, and who imports the package may never use it.
NOT_AT_THE_FRONT_DOOR = {"aiohttp", "asyncio", "pydantic"}

# What a first request must not load.
NOT_FOR_ONE_REQUEST = {
    "or_stream.batching",
    "or_stream.catalog",
    "or_stream.cli",
    "or_stream.conversation",
    "or_stream.emulator",
    "or_stream.relay",
    "PIL",
    "anyio",
    "rich",
    "typer",
}

FORBIDDEN_NAMES = {"base", "common", "core", "helpers", "types", "utils"}

FORBIDDEN_IN_PROTOCOL = {"aiohttp", "asyncio", "logging", "os", "random", "socket", "time"}

# What each layer may import besides itself. "" is the package's own __init__.
_VALUES = {"_image_format", "_json", "_model_families", "_short_repr", "errors", "values"}
_PROTOCOL = _VALUES | {"events", "protocol", "sse"}
_CLIENT = _PROTOCOL | {"catalog", "client"}
_EVERYTHING = _CLIENT | {"", "batching", "conversation", "emulator", "emulator.recording", "relay"}
LAYERS: dict[str, set[str]] = {
    "_image_format": set(),
    "_json": set(),
    "_model_families": set(),
    "_short_repr": set(),
    "errors": set(),
    "values": _VALUES,
    "events": _VALUES,
    "catalog": _VALUES,
    "sse": {"errors"},
    "protocol": _PROTOCOL,
    "client": _CLIENT,
    "relay": _PROTOCOL,
    "emulator": set(),  # it must not share the client's mistakes
    "emulator.recording": _PROTOCOL | {"emulator"},
    "batching": _CLIENT,
    "conversation": _CLIENT,
    "cli": _EVERYTHING,
    "": _CLIENT | {"batching", "conversation"},
    "__main__": {"cli"},
    "pytest_or_stream": {"emulator"},  # outside the package, because pytest loads it in every run
}


class Module(NamedTuple):
    """A module by its dotted name; a package's name ends in `.__init__`, as its file does."""

    name: str
    source: str

    @property
    def import_name(self) -> str:
        return self.name.removesuffix(".__init__")

    @property
    def layer(self) -> str:
        return layer_of(self.import_name)


class Import(NamedTuple):
    """One imported module; `late` when the statement stands inside a function, `for_types` when it is never executed."""

    target: str
    line: int
    late: bool
    for_types: bool


Modules = list[Module]


def layer_of(import_name: str) -> str:
    """`or_stream.client._stream` is in the layer `client`, `or_stream` itself in ``, another module in its own."""
    if not is_ours(import_name):
        return import_name
    layer, _, below = import_name.partition(".")[2].partition(".")
    inner = f"{layer}.{below.partition('.')[0]}"
    return inner if inner in LAYERS else layer


def is_ours(import_name: str) -> bool:
    return import_name.partition(".")[0] == "or_stream"


def targets_of(node: ast.AST, module: Module, known: set[str]) -> list[str]:
    """What a node imports: `from a import b` is `a.b` where that is a module of ours, else `a`."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=name, names=names, level=level):
            package = module.name.rsplit(".", level)[0] + "." if level else ""
            origin = (package + (name or "")).rstrip(".")
            return [inner if (inner := f"{origin}.{alias.name}") in known else origin for alias in names]
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"), args=[argument, *_]
        ):
            return [argument.value if isinstance(argument, ast.Constant) else "a computed name"]
    return []


def imports_of(module: Module, known: set[str]) -> Iterator[Import]:
    """Every import of a module, wherever it stands: also under TYPE_CHECKING, inside functions and by `import_module`."""
    pending: list[tuple[ast.AST, bool, bool]] = [(ast.parse(module.source), False, False)]
    while pending:
        node, late, for_types = pending.pop()
        for target in targets_of(node, module, known):
            yield Import(target, getattr(node, "lineno", 0), late, for_types)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = for_types or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        pending += [(child, late, for_types) for child in ast.iter_child_nodes(node)]


def all_imports(modules: Modules) -> Iterator[tuple[Module, Import]]:
    known = {module.import_name for module in modules}
    for module in modules:
        for imported in imports_of(module, known):
            yield module, imported


def long_files(modules: Modules) -> list[str]:
    lengths = {module.name: len(module.source.splitlines()) for module in modules}
    return [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > FILE_LINES]


def long_functions(modules: Modules) -> list[str]:
    return [
        f"{module.name}.{node.name} has {lines} lines"
        for module in modules
        for node in ast.walk(ast.parse(module.source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def crowded_folders(modules: Modules) -> list[str]:
    folders = Counter(module.name.rpartition(".")[0] for module in modules)
    return [f"{folder} has {files} files" for folder, files in folders.items() if files > FOLDER_FILES]


def is_door(module: Module, imported: Import) -> bool:
    return (imported.late or imported.for_types) and (module.name, imported.target) in LATE_IMPORTS


def import_cycles(modules: Modules) -> list[str]:
    graph: dict[str, set[str]] = {module.import_name: set() for module in modules}
    for module, imported in all_imports(modules):
        if imported.target in graph and not is_door(module, imported):
            graph[module.import_name].add(imported.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def late_imports(modules: Modules) -> list[str]:
    return [
        f"{module.name}:{imported.line} imports {imported.target} inside a function"
        for module, imported in all_imports(modules)
        if imported.late
        if imported.target.partition(".")[0] not in OPTIONAL_EXTRAS and (module.name, imported.target) not in LATE_IMPORTS
    ]


def wrong_ways(modules: Modules) -> list[str]:
    return [
        f"{module.name}:{imported.line} imports {imported.target}"
        for module, imported in all_imports(modules)
        if is_ours(imported.target) and not is_door(module, imported)
        if layer_of(imported.target) not in LAYERS.get(module.layer, set()) | {module.layer}
    ]


def unknown_layers(modules: Modules) -> list[str]:
    return [f"{module.name} is in no layer: draw it in LAYERS" for module in modules if module.layer not in LAYERS]


def opened_rooms(modules: Modules) -> list[str]:
    """A module with an underscore is free to move, so that only its own folder may name it."""
    return [
        f"{module.name}:{imported.line} imports {imported.target}"
        for module, imported in all_imports(modules)
        if is_ours(imported.target)
        for folder, _, name in [imported.target.rpartition(".")]
        if name.startswith("_") and not f"{module.name}.".startswith(f"{folder}.")
    ]


def names_that_say_nothing(modules: Modules) -> list[str]:
    return [
        f"{module.name} says nothing"
        for module in modules
        if {part.strip("_") for part in module.name.split(".")} & FORBIDDEN_NAMES
    ]


def second_doors_to_aiohttp(modules: Modules) -> list[str]:
    return [
        f"{module.name}:{imported.line} imports {imported.target}"
        for module, imported in all_imports(modules)
        if module.layer == "client" and not module.name.startswith("or_stream.client.transport.")
        if imported.target.partition(".")[0] == "aiohttp"
    ]


def impure_protocol(modules: Modules) -> list[str]:
    return [
        f"{module.name}:{imported.line} imports {imported.target}"
        for module, imported in all_imports(modules)
        if module.layer == "protocol" and imported.target.partition(".")[0] in FORBIDDEN_IN_PROTOCOL
    ]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter loads for a statement."""
    script = f"import sys; before = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return set(loaded.split())


def read_package() -> Modules:
    source = Path(__file__).parents[1] / "src"
    return [
        Module(".".join(path.relative_to(source).with_suffix("").parts), path.read_text(encoding="utf-8"))
        for path in sorted(source.rglob("*.py"))
    ]


def made_of(sources: dict[str, str]) -> Modules:
    """A package made up for one test, from its modules' names and sources."""
    return [Module(f"or_stream.{name}", source) for name, source in sources.items()]


RULES = [
    long_files,
    long_functions,
    crowded_folders,
    import_cycles,
    late_imports,
    wrong_ways,
    unknown_layers,
    opened_rooms,
    names_that_say_nothing,
    second_doors_to_aiohttp,
    impure_protocol,
]

UNDER_TYPE_CHECKING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "

VIOLATIONS = [
    (long_files, {"sse": "x = 1\n" * 401}),
    (long_functions, {"sse": "def feed():\n" + "    x = 1\n" * 60}),
    (long_functions, {"sse": "class A:\n  async def feed(self):\n" + "    x = 1\n" * 60}),
    (crowded_folders, {f"protocol._{number}": "" for number in range(11)}),
    (import_cycles, {"sse": "import or_stream.errors", "errors": "from or_stream.sse import SSEParser"}),
    (import_cycles, {"sse": "import or_stream.errors", "errors": UNDER_TYPE_CHECKING + "from or_stream import sse"}),
    (import_cycles, {"protocol._a": "from . import _b", "protocol._b": "from ._a import x"}),
    (import_cycles, {"protocol.__init__": "from ._a import x", "protocol._a": "from or_stream.protocol import Pipeline"}),
    (late_imports, {"sse": "def feed():\n    import json"}),
    (late_imports, {"sse": "class A:\n    async def feed(self):\n        if self:\n            from or_stream import errors"}),
    (late_imports, {"client._stream": "def batch():\n    return importlib.import_module('or_stream.batching')"}),
    (wrong_ways, {"errors": "from or_stream.values import Message"}),
    (wrong_ways, {"errors": "from .values import Message"}),
    (wrong_ways, {"values": "import or_stream.events"}),
    (wrong_ways, {"events": "from or_stream import sse", "sse": ""}),
    (wrong_ways, {"sse": "from or_stream.values import Message"}),
    (wrong_ways, {"protocol._decoder": "from or_stream.client import Client"}),
    (wrong_ways, {"client._client": "from or_stream.batching import BatchRun"}),
    (wrong_ways, {"client._stream": UNDER_TYPE_CHECKING + "from or_stream.batching import BatchRun"}),
    (wrong_ways, {"relay.asgi": "from or_stream.client import ChatStream"}),
    (wrong_ways, {"relay.asgi": "from or_stream.emulator import Emulator"}),
    (wrong_ways, {"emulator._server": "from ..client import Client"}),
    (wrong_ways, {"emulator._server": "from or_stream.relay import asgi"}),
    (wrong_ways, {"batching._runner": "from or_stream.cli import main"}),
    (wrong_ways, {"conversation._turn": "from or_stream.batching import batch"}),
    (wrong_ways, {"client._client": "from or_stream import stream"}),
    (wrong_ways, {"__init__": "from or_stream.emulator import Emulator"}),
    (unknown_layers, {"telemetry": ""}),
    (opened_rooms, {"client._stream": "from or_stream.protocol._pipeline import Pipeline"}),
    (opened_rooms, {"client._stream": "from or_stream.protocol import _pipeline", "protocol._pipeline": ""}),
    (names_that_say_nothing, {"protocol._utils": ""}),
    (names_that_say_nothing, {"client.types": ""}),
    (names_that_say_nothing, {"batching._core._plan": ""}),
    (second_doors_to_aiohttp, {"client._client": "import aiohttp.web"}),
    (second_doors_to_aiohttp, {"client._client": UNDER_TYPE_CHECKING + "from aiohttp import ClientSession"}),
    (impure_protocol, {"protocol._decoder": "import time"}),
    (impure_protocol, {"protocol._decoder": "from os.path import join"}),
]

ALLOWED = [
    (long_files, {"sse": "x = 1\n" * 400}),
    (long_functions, {"sse": "def feed():\n" + "    x = 1\n" * 59}),
    (crowded_folders, {f"protocol._{number}": "" for number in range(10)}),
    (import_cycles, {"protocol.__init__": "from ._a import x", "protocol._a": "from . import _b", "protocol._b": ""}),
    (late_imports, {"__init__": "def __getattr__(name):\n    return import_module(f'or_stream.{name}')"}),
    (late_imports, {"cli._render": "def show():\n    from PIL import Image"}),
    (wrong_ways, {"protocol._decoder": "from or_stream import errors", "errors": ""}),
    (wrong_ways, {"__main__": "from or_stream.cli import main"}),
    (wrong_ways, {"client._client": UNDER_TYPE_CHECKING + "from or_stream.batching import BatchRun"}),
    (opened_rooms, {"protocol.__init__": "from or_stream.protocol._pipeline import Pipeline"}),
    (opened_rooms, {"protocol._payloads": "from or_stream._image_format import media_type_of"}),
    (second_doors_to_aiohttp, {"client.transport._session": "import aiohttp", "relay.aiohttp_web": "import aiohttp"}),
    (impure_protocol, {"client._retry": "import random", "protocol._decoder": "import json"}),
]

PACKAGE = read_package()

Rule = Callable[[Modules], list[str]]


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps(rule: Rule):
    """The package keeps every rule of its architecture."""
    assert [] == rule(PACKAGE)


@pytest.mark.parametrize(("rule", "sources"), VIOLATIONS)
def test_violation_is_found(rule: Rule, sources: dict[str, str]):
    """A rule names exactly one thing in a source that breaks it in one way."""
    assert len(rule(made_of(sources))) == 1


@pytest.mark.parametrize(("rule", "sources"), ALLOWED)
def test_allowed_is_left_alone(rule: Rule, sources: dict[str, str]):
    """A rule says nothing about what stays just within it."""
    assert [] == rule(made_of(sources))


def test_every_rule_can_fail():
    """No rule is without a source that breaks it."""
    assert set(RULES) == {rule for rule, _ in VIOLATIONS}


def test_package_is_read():
    """The rules see the package and not an empty folder."""
    assert {"or_stream.errors", "or_stream.events"} <= {module.name for module in PACKAGE}


def test_front_door():
    """`import or_stream` loads nothing but itself."""
    assert set() == NOT_AT_THE_FRONT_DOOR & loaded_by("import or_stream")


def test_one_request():
    """What one request needs is loaded without the layers beside and above the client, and without what only they need."""
    assert set() == NOT_FOR_ONE_REQUEST & loaded_by("from or_stream import stream, Client, RateLimited, TextDelta")


def test_what_is_loaded_is_seen():
    """The check of what a statement loads can fail."""
    assert "rich" in loaded_by("import rich")
