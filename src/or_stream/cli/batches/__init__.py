"""What `or-stream batch` is made of.

_formats    text -> prompts: JSON lines, CSV, plain lines     _progress   a run while it goes on
_input      a file, a pipe, a part of either                  _summary    what became of it
_sheet      the journal -> pages of pictures                  _page       one item in HTML
"""

from or_stream.cli.batches._formats import FormatName
from or_stream.cli.batches._input import Prompts, Shard, open_prompts
from or_stream.cli.batches._progress import Progress
from or_stream.cli.batches._sheet import write_sheet
from or_stream.cli.batches._summary import Tally, json_line

__all__ = ["FormatName", "Progress", "Prompts", "Shard", "Tally", "json_line", "open_prompts", "write_sheet"]
