"""What commands show: text, notes and a moving line on a `Terminal`, and the events of a stream in it, pictures included."""

from or_stream.cli.terminal._render import JsonLines, Renderer, file_size, summary
from or_stream.cli.terminal._terminal import Terminal, printable

__all__ = ["JsonLines", "Renderer", "Terminal", "file_size", "printable", "summary"]
