"""What is done about memory changes nothing but memory."""

import ctypes
import gc
import subprocess
import sys

import pytest

from ouvroir import memory


def test_the_search_for_cycles_goes_on_after_the_outermost_pause():
    assert gc.isenabled()
    with memory.collector_paused():
        with memory.collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="inside"), memory.collector_paused():
        raise ValueError("inside")
    assert gc.isenabled()


def test_giving_back_keeps_what_is_in_use():
    kept = [bytes([number]) * 5000 for number in range(200)]
    memory.give_back()
    assert all(one == bytes([number]) * 5000 for number, one in enumerate(kept))


@pytest.mark.parametrize(("claim", "is_frozen"), [("", False), ("memory.claim_process(); ", True)])
def test_only_a_process_of_ours_leaves_objects_out_of_searches(claim, is_frozen):
    code = f"import gc; from ouvroir import memory; {claim}import ouvroir.training; print(gc.get_freeze_count() > 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(is_frozen)


COUNT = """
import resource, sys, torch
from ouvroir.training.device import threads

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    for _ in range(5):
        torch.ones(12_000_000)

def counted():
    step()
    before = faults()
    step()
    return faults() - before

print(counted())
with threads(1):
    print(counted())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_large_blocks_of_a_step_are_those_of_the_step_before():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < usual / 10
