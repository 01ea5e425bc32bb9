"""The command `or-stream`. Its table of commands is in `_application`, what each does in the file of its name.

Exit codes: 0 done, 1 the server or the network failed, 2 wrong usage, 130 interrupted, 143 terminated.
"""

import io
import os
import sys
from pathlib import Path
from typing import Final

try:
    from or_stream.cli._application import application
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] not in ("typer", "rich"):
        raise
    _HAS_EXTRA = False
else:
    _HAS_EXTRA = True

__all__ = ["main"]

_HINT: Final = "the command needs an extra: pip install 'or-stream[cli]'"


def main() -> None:
    """Run the command with the arguments of the process. Ends in SystemExit."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us: the next file that is opened would take its number
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if not _HAS_EXTRA:
        print(_HINT, file=sys.stderr)
        raise SystemExit(2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character still gets the others
    application()(prog_name="or-stream")
