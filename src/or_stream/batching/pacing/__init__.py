"""When the next request may be sent: the server's limit, the caller's caps, the budget."""

from or_stream.batching.pacing._gate import Gate, Stopped, is_refusal
from or_stream.batching.pacing._ledger import BatchStats, Ledger

__all__ = ["BatchStats", "Gate", "Ledger", "Stopped", "is_refusal"]
