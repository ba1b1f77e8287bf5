"""What every test relies on: Ctrl-C means what it means to a program that a person started, and nothing fails for being slow."""

import gc
import signal

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# `nohup make test-all &` starts with SIGINT ignored, which this process and its children would inherit: tests that
# interrupt a training would wait for ever. A handler of Python's is not inherited, so children have the default again.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def libraries_are_settled():
    """What stays, as libraries do, is left out of searches for cycles, which would take a fifth of the time."""
    gc.collect()
    gc.freeze()
