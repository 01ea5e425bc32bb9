"""What is measured and what must hold of it, as data, and how a verdict comes from samples. Nothing here runs anything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from inputs import image_bytes

MEGABYTE = 10**6
READ, KEEP, PARSE = "aiohttp, read", "aiohttp, read and keep", "aiohttp, read and parse"
OURS, SAVING = "or_stream", "or_stream, save_to"
IMAGES = (5, 20, 50, 200)
# Half of the line for each size of pieces. From 32 MiB on malloc takes fresh pages for every copy, whoever makes it: two and a
# half times the time of each byte, and no matter of the parser's.
LINES = {1: 500_000, 1024: 10_000_000, 65536: 10_000_000}
# The package loads a layer when one of its names is asked for, so that the first alone says little.
IMPORTS = ("import or_stream", "from or_stream import stream")


class Case(NamedTuple):
    """One thing that can be measured. `loop` is what probe.py says; it is not for the works that need no network."""

    work: str
    client: str
    streams: int = 1
    loop: str = "asyncio"


Measures = Mapping[str, float | None]
Sample = tuple[Case, Measures]
Round = Mapping[Case, Measures]  # what counts of the samples of one round


def times_a_round(case: Case) -> int:
    """How often it is measured in each round: what a wake-up takes differs by half from process to process."""
    return 3 if case.work.startswith("live") and case.client in OWN_CLIENTS else 1


def round_of(samples: Iterable[Sample]) -> Round:
    """The medians of what was measured more than once."""
    taken: dict[Case, list[Measures]] = {}
    for case, measures in samples:
        taken.setdefault(case, []).append(measures)
    return {case: medians(of_case) for case, of_case in taken.items()}


def medians(samples: Sequence[Measures]) -> Measures:
    """Of each measure by itself, as far as it was taken."""
    values = {name: [one[name] for one in samples if one.get(name) is not None] for name in set().union(*samples)}
    return {name: median(of_name) for name, of_name in values.items() if of_name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A measure of one case, as a multiple of another's where there is one: at most, or at least, the bound.

    `unit` is how many of the measure's seconds or bytes one of the bound is.
    """

    work: str
    claim: str
    measure: str
    of: Case
    to: Case | None = None
    bound: float
    is_least: bool = False
    unit: float = 1
    unit_name: str = "×"  # noqa: RUF001

    def values(self, rounds: Iterable[Round]) -> list[float]:
        """The value in each round that has what it needs."""
        return [
            one[self.of][self.measure] / (one[self.to][self.measure] if self.to else self.unit)
            for one in rounds
            if self.of in one and (self.to is None or self.to in one)
        ]

    def value(self, rounds: Iterable[Round]) -> float | None:
        """The median of the rounds, None where it was not measured."""
        values = self.values(rounds)
        return median(values) if values else None

    def holds(self, value: float, margin: float = 1) -> bool:
        """Whether the value is on the right side of the bound, give or take the margin's factor."""
        return value >= self.bound / margin if self.is_least else value <= self.bound * margin

    @property
    def is_of_peers(self) -> bool:
        """Whether measuring it needs the packages of others."""
        return any(case is not None and case.client not in OWN_CLIENTS for case in (self.of, self.to))

    @property
    def is_steady(self) -> bool:
        """Whether it is much the same on a slow or a busy machine: CPU time as a multiple, or memory.

        A live wake-up is not, nor is the price of fresh memory beside that of reading.
        """
        is_price_of_memory = self.of.work.startswith("image") and self.to is not None and self.to.client == READ
        is_on_the_wall = self.measure in {"first_event_seconds", "longest_hold_seconds"}
        return not (is_price_of_memory or is_on_the_wall or self.of.work.startswith("live"))


OWN_CLIENTS = {READ, KEEP, PARSE, OURS, SAVING, "or_stream decoder", "import aiohttp, pydantic", *IMPORTS}


def text_goals() -> Iterator[Goal]:
    """Text, one stream and many."""
    work, ours = "20,000 text deltas, one HTTP chunk each", Case("text-20000", OURS)
    yield Goal(
        work=work, claim="CPU, of reading and parsing", measure="cpu_seconds", of=ours, to=Case("text-20000", PARSE), bound=1.9
    )
    for peer, factor in {"openai create": 20, "openai .stream()": 40, "openrouter": 85, "litellm": 40}.items():
        claim = f"CPU of {peer}, of or_stream's"
        yield Goal(
            work=work, claim=claim, measure="cpu_seconds", of=Case("text-20000", peer), to=ours, bound=factor, is_least=True
        )
    work, ours, floor = "live: a delta a millisecond", Case("live-2000", OURS), Case("live-2000", READ)
    yield Goal(work=work, claim="CPU, of reading", measure="cpu_seconds", of=ours, to=floor, bound=1.25)
    work, together = "1,000 streams at once, 200 deltas each", "together-1000x200"
    ours = Case(together, OURS, 1000)
    for client, floor in {"reading": READ, "reading and parsing": PARSE}.items():
        to = Case(together, floor, 1000)
        yield Goal(work=work, claim=f"CPU, of {client}", measure="cpu_seconds", of=ours, to=to, bound=1.6)
        claim = f"time to a stream's first event, of {client}"
        yield Goal(work=work, claim=claim, measure="first_event_seconds", of=ours, to=to, bound=1.1)


def image_goals() -> Iterator[Goal]:
    """Images, in memory and into a folder."""
    for size in IMAGES:
        work, ours = f"an image of {size} MB, in memory", Case(f"image-{size}", OURS)
        for claim, (floor, bound) in {"CPU, of reading": (READ, 2.5), "CPU, of reading and keeping": (KEEP, 1.6)}.items():
            to = Case(f"image-{size}", floor)
            yield Goal(work=work, claim=claim, measure="cpu_seconds", of=ours, to=to, bound=bound)
        bound = 1.3 * image_bytes(size) / MEGABYTE + 8
        yield Goal(work=work, claim="peak memory", measure="peak_bytes", of=ours, bound=bound, unit=MEGABYTE, unit_name="MB")
    ours, tenth = Case("image-200", OURS), Case("image-20", OURS)
    yield Goal(work="an image of 200 MB, in memory", claim="CPU, of 20 MB", measure="cpu_seconds", of=ours, to=tenth, bound=11)
    for size in IMAGES:
        work, ours = f"an image of {size} MB, save_to", Case(f"image-{size}", SAVING, loop="watched")
        yield Goal(work=work, claim="peak memory", measure="peak_bytes", of=ours, bound=4, unit=MEGABYTE, unit_name="MB")
        claim = "longest hold of the event loop"
        yield Goal(work=work, claim=claim, measure="longest_hold_seconds", of=ours, bound=5, unit=0.001, unit_name="ms")
    work, ours, peer = "50 images of 5 MB at once, save_to", Case("image-5", SAVING, 50), Case("image-5", "openai create", 50)
    claims = {"CPU of openai create, decoded, of or_stream's": ("cpu_seconds", 5), "its peak memory": ("peak_bytes", 10)}
    for claim, (measure, factor) in claims.items():
        yield Goal(work=work, claim=claim, measure=measure, of=peer, to=ours, bound=factor, is_least=True)


def other_goals() -> Iterator[Goal]:
    """The parser alone, open streams, and the import."""
    for pieces, name in {"events-chunk": "an event a piece", "events-16384": "pieces of 16 KiB"}.items():
        for decoder, factor in {"openai": 3, "httpx-sse": 1.5}.items():
            of, to = Case(pieces, f"{decoder} decoder"), Case(pieces, "or_stream decoder")
            claim = f"CPU of {decoder}'s decoder, of or_stream's"
            yield Goal(work=f"SSE, {name}", claim=claim, measure="cpu_seconds", of=of, to=to, bound=factor, is_least=True)
    for piece, size in LINES.items():
        half, whole = (Case(f"line-{piece}-{count}", "or_stream decoder") for count in (size, 2 * size))
        work = f"SSE, one line of {2 * size / MEGABYTE:g} MB in pieces of {piece} B"
        yield Goal(work=work, claim="CPU, of half the line", measure="cpu_seconds", of=whole, to=half, bound=2.5)
    ours, floor = Case("idle", OURS, 1000), Case("idle", READ, 1000)
    claim = "memory of a stream, of aiohttp's"
    yield Goal(work="1,000 open streams", claim=claim, measure="bytes_per_stream", of=ours, to=floor, bound=1.5)
    claim, floor = "CPU, of `import aiohttp, pydantic`", Case("import", "import aiohttp, pydantic")
    for statement in IMPORTS:
        yield Goal(work=f"`{statement}`", claim=claim, measure="cpu_seconds", of=Case("import", statement), to=floor, bound=1.15)


GOALS = [*text_goals(), *image_goals(), *other_goals()]

# Measured beside what the goals need: what uvloop changes, and what others do where there is no goal.
BESIDE = [
    Case("text-20000", READ),
    *(Case("text-20000", client, loop="uvloop") for client in (READ, PARSE, OURS)),
    *(Case("live-2000", client, loop="uvloop") for client in (READ, OURS)),
    *(Case("live-2000", client) for client in ("openai create", "openrouter")),
    *(Case("together-1000x200", client, 1000, "uvloop") for client in (READ, OURS)),
    *(Case("image-50", client, loop="uvloop") for client in (READ, OURS)),
    *(Case("image-20", client) for client in ("openai create", "openai .stream()", "openrouter", "litellm")),
    Case("image-5", READ, 50),
    *(Case(work, "or_stream pipeline decoder") for work in ("events-chunk", "events-16384")),
]

# What `--profile` looks into: long enough that loading Python is a small part of it.
PROFILED = [Case("text-400000", OURS), Case("image-200", OURS, 4), Case("image-200", SAVING, 4)]


def cases_of(goals: Iterable[Goal]) -> list[Case]:
    """What must be measured for them, each once."""
    return list(dict.fromkeys(case for goal in goals for case in (goal.of, goal.to) if case))


# What can regress and needs neither the packages of others nor minutes.
QUICK_GOALS = [goal for goal in GOALS if not goal.is_of_peers and "image-200" not in {goal.of.work, goal.to and goal.to.work}]
