"""Generators whose training is killed again and again end with the bits of one that was not: kill -9 of the command itself."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ouvroir
import pictures
from ouvroir.hashes import hash_file
from ouvroir.run import Run

SETTINGS = {"loop.steps": 150, "loop.save_every": 20, "loop.evaluate_every": 50}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["image-generation", "image-generation-adversarial"])
def test_a_generator_that_is_killed_again_and_again_ends_in_the_same_bits(tmp_path, monkeypatch, task):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = pictures.write_digits(tmp_path / "digits", per_class=30)
    words = ["train", str(folder), "--task", task, *pictures.QUICK, "--quiet"]
    for name, value in SETTINGS.items():
        words += ["--set", f"{name}={value}"]
    pictures.run(*words, "--runs", str(tmp_path / "whole"))
    whole = Run(next((tmp_path / "whole").iterdir()))
    training_s = whole.metrics()[-1].seconds  # without the start of the process, which takes longer
    moments, n_killed, runs = random.Random(0), 0, tmp_path / "broken"
    arguments = [*words, "--runs", str(runs)]
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-m", "ouvroir", *arguments], stdout=subprocess.DEVNULL)
        _wait_for_steps(runs, process)
        time.sleep(moments.uniform(0.0, training_s / 5))
        n_killed += process.poll() is None
        process.kill()
        process.wait()
        if names := [path.parent.name for path in runs.glob("*/recipe.json")]:
            arguments = ["train", "--resume", names[0], "--runs", str(runs), "--quiet"]
    pictures.run(*arguments)
    broken = Run(next(runs.iterdir()))
    assert n_killed >= 2
    for which in ("best", "last"):
        mine, theirs = (one.checkpoint(which) for one in (broken, whole))
        assert mine.name == theirs.name
        assert hash_file(mine / "model.safetensors") == hash_file(theirs / "model.safetensors")
    assert _measured(broken) == _measured(whole)
    made = [[path.read_bytes() for path in ouvroir.generate(one.path, count=3).files] for one in (broken, whole)]
    assert made[0] == made[1]


def _wait_for_steps(runs: Path, process: subprocess.Popen) -> None:
    """Until the training that goes on in `runs` has written a checkpoint more, or the process is over."""
    before = set(runs.glob("*/checkpoints/step_*"))
    while process.poll() is None and set(runs.glob("*/checkpoints/step_*")) <= before:
        time.sleep(0.01)


def _measured(run: Run) -> list:
    return [(one.step, one.split, one.name, one.value) for one in run.metrics()]
