"""The training loop and what it needs, for every task alike.

All of it needs torch, which is imported here without Python's search for cycles among its many objects.
"""

import sys

from ouvroir.memory import collector_paused, settle_libraries

if "torch" not in sys.modules:
    with collector_paused():
        import torch  # noqa: F401
    settle_libraries()
