"""What is done about memory changes nothing but memory."""

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
