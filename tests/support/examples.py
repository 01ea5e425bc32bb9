"""The examples as modules, for those that are applications."""

import importlib.util
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example(name: str) -> ModuleType:
    """A fresh module made from a file in examples/."""
    specification = importlib.util.spec_from_file_location(name.removesuffix(".py"), EXAMPLES / name)
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    return example
