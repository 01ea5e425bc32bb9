"""`batch`: the one function of this package, its arguments checked."""

import os
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Final, Unpack

from or_stream.batching._attempts import OnEvent
from or_stream.batching._run import BatchRun, OnProgress, Plan
from or_stream.batching._source import Duplicates
from or_stream.client import Client, GenerationOptions, RetryPolicy, stream
from or_stream.errors import ConfigurationError

__all__ = ["BatchOptions", "batch"]

# A stream that was cut is asked for again, as nobody has seen it; the waits are for a server that is down, not for its limits.
_RETRY: Final = RetryPolicy(attempts=5, base_seconds=0.5, cap_seconds=300, total_seconds=900, restart=True)


class BatchOptions(GenerationOptions, total=False):
    """What `batch` takes besides the prompts and the client: see there."""

    model: str | None
    concurrency: int
    ordered: bool
    journal: str | os.PathLike[str] | None
    skip_finished: bool
    duplicates: Duplicates | None
    budget: float | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_failures_in_a_row: int
    on_event: OnEvent | None
    on_progress: OnProgress | None
    dry_run: bool


def batch(
    prompts: Iterable[Any] | AsyncIterable[Any],
    *,
    client: Client | None = None,
    model: str | None = None,
    concurrency: int = 16,
    ordered: bool = False,
    journal: str | os.PathLike[str] | None = None,
    skip_finished: bool = False,
    duplicates: Duplicates | None = None,
    budget: float | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    max_failures_in_a_row: int = 100,
    on_event: OnEvent | None = None,
    on_progress: OnProgress | None = None,
    dry_run: bool = False,
    **options: Unpack[GenerationOptions],
) -> BatchRun:
    """Generations for many prompts, as fast as the server allows: an async iterator of `BatchItem`s, with `stats`.

    A prompt is a text, a conversation, or a mapping with `prompt`, any option of `stream`, and a `key` of its own. They are
    pulled one at a time: `concurrency` are under way, and at most twice as many are held. Items come as they end, with `ordered`
    as they were given; one that fails is an item with `error`. Input that has no prompt to give, such as a file with a bad line,
    gives a ConfigurationError in its place. Without `client`, as in `stream`.

    `journal`: a file in which everything is written down; the same call again does only what is not done, and hands out the rest
    from the file (`skip_finished`: not at all). `duplicates`: whether equal prompts without keys are done "once", the default
    with a journal, or "each". `save_to`: pictures go there under the names of their keys. `budget`: US dollars, for this and all
    earlier runs of the journal. The two caps hold for this run; without them the limit of the server is found, by all runs of
    the process together. `retry` counts failures; refusals for the rate limit are waited for, for `total_seconds` an item.
    `on_event(item, event)` sees everything as it comes, `on_progress(stats)` each end of an item; both may be async. `dry_run`
    sends and makes nothing, counts the prompts and estimates the cost, in `stats`.

    Raised at the end of the loop, when what was under way has been finished, handed out and written down: BudgetExceeded;
    AuthenticationFailed, PaymentRequired, ImageNotSaved; RateLimited and its like where the server wants a longer wait than
    `retry.cap_seconds`; the failure that `max_failures_in_a_row` items had in common; a journal that cannot be written; whatever
    the input or a callback raises. Raises ConfigurationError at once for arguments that cannot be used.
    """
    return BatchRun(
        _checked(
            prompts=prompts,
            client=client,
            model=model,
            options=dict(options),
            concurrency=concurrency,
            ordered=ordered,
            duplicates=duplicates or ("each" if journal is None else "once"),
            skip_finished=skip_finished,
            journal=journal,
            budget=budget,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            max_failures_in_a_row=max_failures_in_a_row,
            on_event=on_event,
            on_progress=on_progress,
            dry_run=dry_run,
        )
    )


def _checked(**plan: Any) -> Plan:
    for name in ("concurrency", "max_failures_in_a_row"):
        value = plan[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigurationError(f"{name} must be a whole number from 1 on, not {value!r}")
    for name in ("requests_per_minute", "tokens_per_minute"):
        if plan[name] is not None and not (_is_number(plan[name]) and plan[name] > 0):
            raise ConfigurationError(f"{name} must be more than 0, or None for no cap, not {plan[name]!r}")
    if plan["budget"] is not None and not (_is_number(plan["budget"]) and plan["budget"] >= 0):
        raise ConfigurationError(f"budget must be 0 dollars or more, or None for no limit, not {plan['budget']!r}")
    if plan["duplicates"] not in ("once", "each"):
        raise ConfigurationError(f'duplicates must be "once" or "each", not {plan["duplicates"]!r}')
    if not isinstance(plan["journal"], str | os.PathLike | None):
        raise ConfigurationError(f"journal must be the path of a file, not {plan['journal']!r}")
    prompts = plan["prompts"]
    if not isinstance(prompts, Iterable | AsyncIterable) or isinstance(prompts, str | bytes | Mapping):
        raise ConfigurationError("the prompts must be a list or another iterable: batch([prompt])")
    options = plan["options"]
    if plan["dry_run"]:
        options.pop("save_to", None)
    stream("any", model=plan["model"], client=plan["client"], **options)  # what is wrong here is wrong with every prompt
    return Plan(retry=options.pop("retry", None) or _RETRY, save_to=options.pop("save_to", None), **plan)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
