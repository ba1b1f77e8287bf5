"""The training loop and what it needs, for every task alike.

All of it needs torch, which is imported here without Python's search for cycles among its many objects, and left out of
later searches: an eighth of its time, and a tenth of a second at each of those.
"""

import gc
import sys

from ouvroir.memory import collector_paused

if "torch" not in sys.modules:
    with collector_paused():
        import torch  # noqa: F401
    gc.freeze()
