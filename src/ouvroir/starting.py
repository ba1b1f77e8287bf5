"""What comes before all else that is imported: Ctrl-C while the command line loads, and how threads wait for each other.

Nothing has begun while it loads, so Ctrl-C ends without a traceback; in a program that imports Ouvroir as a library it is left as
it is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


SPINS = "3000"
"""How often a thread of OpenMP (GNU's, which torch brings on Linux) looks whether the others are ready before it sleeps.

Of its own accord it looks 300,000 times. On cores that another program uses too, the threads of a training then keep each other
from working, and steps may take eight times as long as with this, which costs 2 to 7 % where nothing else runs.
"""


def wait_briefly() -> None:
    """Have threads wait as SPINS says, from when libraries that calculate are loaded on, unless the user has said how."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def leave(number: int, frame: FrameType | None) -> None:
    """End at once. An exception inside an import can end a C++ library in a crash, or be swallowed by it."""
    del number, frame
    os.write(2, b"Stopped.\n")
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether this process is `ouvroir` or `python -m ouvroir`; before the module is found, its name stands as -m."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    return "ouvroir" in sys.orig_argv if name == "-m" else Path(name).name == "ouvroir"


wait_briefly()
if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
