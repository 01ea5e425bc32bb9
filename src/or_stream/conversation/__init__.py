"""Conversations: turns that are kept, with pictures as files, and sent back with each next one."""

from or_stream.conversation._conversation import Conversation
from or_stream.conversation._turn import Turn

__all__ = ["Conversation", "Turn"]
