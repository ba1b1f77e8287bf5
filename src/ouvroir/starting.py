"""Ctrl-C while the command line still loads, which takes a moment: nothing has begun, so it ends without a traceback.

The package imports this first. In a program that imports Ouvroir as a library, Ctrl-C is left as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


def leave(number: int, frame: FrameType | None) -> None:
    """End at once. An exception inside an import can end a C++ library in a crash, or be swallowed by it."""
    del number, frame
    os.write(2, b"Stopped.\n")
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether this process is `ouvroir` or `python -m ouvroir`; before the module is found, its name stands as -m."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    return "ouvroir" in sys.orig_argv if name == "-m" else Path(name).name == "ouvroir"


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
