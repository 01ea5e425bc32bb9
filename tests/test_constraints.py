"""The lists of pinned versions: pip refuses two that name different versions of one package."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pinned(*lists: str) -> Iterator[str]:
    """The packages that are pinned, in lower case."""
    for line in (line for name in lists for line in (ROOT / name).read_text().splitlines()):
        package, sign, _ = line.partition("==")
        if sign:
            yield package.lower().replace("_", "-")


def test_each_package_is_pinned_once():
    """`make interop` installs with both lists: interop/constraints.txt has only what constraints.txt has not."""
    packages = list(pinned("constraints.txt", "interop/constraints.txt"))
    assert len(packages) > 50
    assert sorted(packages) == sorted(set(packages))
