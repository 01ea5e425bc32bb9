"""What goes in, what comes out, and what stays on disk of it."""

from or_stream.batching.records._item import BatchItem, Task, read_task
from or_stream.batching.records._journal import Journal, read_journal
from or_stream.batching.records._pictures import PictureFolder

__all__ = ["BatchItem", "Journal", "PictureFolder", "Task", "read_journal", "read_task"]
