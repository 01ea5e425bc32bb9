"""The same bytes in every way a network could cut them."""

import itertools
import random
from collections.abc import Iterator, Sequence

__all__ = ["chunkings", "cut"]

# Above these sizes single bytes and every cut in two would take seconds and find nothing more.
_LARGEST_BYTE_BY_BYTE = 9_000
_LARGEST_CUT_ANYWHERE = 2_000
_RANDOM_CHUNKINGS = 3


def cut(data: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The pieces between these ascending offsets; a repeated offset makes an empty piece."""
    edges = [0, *offsets, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def chunkings(data: bytes, splits: Sequence[Sequence[int]] = ()) -> Iterator[tuple[str, list[bytes]]]:
    """Yield (name, pieces) for each way: whole, `splits`, small pieces, empty ones between, in two at every place, at random.

    The random ones depend on nothing but the data.
    """
    yield "whole", [data]
    for offsets in splits:
        yield f"cut at {list(offsets)}", cut(data, offsets)
    size = 1 if len(data) <= _LARGEST_BYTE_BY_BYTE else 1000
    small = cut(data, range(size, len(data), size))
    yield f"by {size}", small
    yield f"by {size}, empty pieces between", [piece for full in small for piece in (b"", full, b"")]
    if len(data) <= _LARGEST_CUT_ANYWHERE:
        for offset in range(len(data) + 1):
            yield f"cut at {offset}", cut(data, [offset])
    generator = random.Random(data)
    for number in range(_RANDOM_CHUNKINGS):
        count = generator.randint(0, min(len(data), 200))
        yield f"random {number}", cut(data, sorted(generator.choices(range(len(data) + 1), k=count)))
