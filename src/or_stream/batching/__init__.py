"""Many generations at once: `async for item in batch(prompts): ...`, as fast as the server allows, nothing paid twice or lost.

_run        BatchRun: workers, and what ends a run          _source     prompts -> tasks
_attempts   one task: ask, read, settle, ask again          _delivery   items -> the caller's loop
_gate       when the next request may be sent               _journal    what has happened, on disk
_limiter    how fast, found out from refusals; pure         _ledger     what it has cost, and may cost
"""

from or_stream.batching._batch import BatchOptions, batch
from or_stream.batching._run import BatchRun
from or_stream.batching.pacing import BatchStats
from or_stream.batching.records import BatchItem, read_journal

__all__ = ["BatchItem", "BatchOptions", "BatchRun", "BatchStats", "batch", "read_journal"]
