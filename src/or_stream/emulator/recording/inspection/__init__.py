"""What is in an answer, event by event: `Inspection` takes its bytes, `or-stream inspect` shows what it says."""

from or_stream.emulator.recording.inspection._inspection import Explained, Inspection

__all__ = ["Explained", "Inspection"]
