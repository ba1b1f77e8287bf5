"""Trainings of every medium, killed again and again, end with the bits of one that was not: kill -9 of the command itself."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ouvroir
import pictures
from ouvroir.hashes import hash_file
from ouvroir.media import find_task
from ouvroir.run import Run
from ouvroir.task import Synthesiser

N_KILLS = 10
SETTINGS = {"loop.save_every": 10, "loop.evaluate_every": 30, "loop.batch_size": 16, "loop.micro_batch": 16}
STEPS = {
    "image-generation": 240,
    "image-generation-adversarial": 240,
    "text-classification": 400,
    "text-generation": 240,
    "audio-classification": 150,
    "audio-generation": 90,
    "video-classification": 150,
    "video-generation": 90,
}
OWN = {
    "audio-generation": {"options.sample_steps": 2, "options.phase_steps": 2},
    "video-classification": {"options.storage_px": 32, "options.n_frames": 8, "options.fps": 5},
    "video-generation": {"options.storage_px": 16, "options.n_frames": 4, "options.sample_steps": 2},
}


CORPUS = {network: {"options.network": network, "options.context": 32} for network in ("lstm", "transformer")}
"""Settings of language models of a corpus, by the network."""


def write_corpus(folder):
    """Sentences without labels."""
    folder.mkdir()
    draw = random.Random(0)
    words = "the sea a lamp two birds sings falls waits at night and then".split()
    (folder / "book.txt").write_text("\n".join(" ".join(draw.choices(words, k=9)) for _ in range(4000)))


@pytest.mark.slow
@pytest.mark.parametrize("task", [*STEPS, *CORPUS])
def test_a_training_that_is_killed_again_and_again_ends_in_the_same_bits(tmp_path, monkeypatch, task):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = tmp_path / "data"
    own = {**OWN.get(task, {}), **CORPUS.get(task, {})}
    if task in CORPUS:
        write_corpus(folder)
        task = "text-generation"
    elif task.startswith("image"):
        pictures.write_digits(folder, per_class=30)
    else:
        ouvroir.sample(task, folder)
    words = ["train", str(folder), "--task", task, *pictures.QUICK, "--quiet"]
    for name, value in {**SETTINGS, "loop.steps": STEPS[task], **own}.items():
        words += ["--set", f"{name}={value}"]
    pictures.run(*words, "--runs", str(tmp_path / "whole"))
    whole = Run(next((tmp_path / "whole").iterdir()))
    training_s = whole.metrics()[-1].seconds  # without the start of the process, which takes longer
    moments, n_killed, runs = random.Random(task), 0, tmp_path / "broken"
    arguments = [*words, "--runs", str(runs)]
    for _ in range(N_KILLS):
        process = subprocess.Popen([sys.executable, "-m", "ouvroir", *arguments], stdout=subprocess.DEVNULL)
        _wait_for_steps(runs, process)
        time.sleep(moments.uniform(0.0, training_s / N_KILLS))
        n_killed += process.poll() is None
        process.kill()
        process.wait()
        if names := [path.parent.name for path in runs.glob("*/recipe.json")]:
            arguments = ["train", "--resume", names[0], "--runs", str(runs), "--quiet"]
    pictures.run(*arguments)
    broken = Run(next(runs.iterdir()))
    assert n_killed >= 3
    for which in ("best", "last"):
        mine, theirs = (one.checkpoint(which) for one in (broken, whole))
        assert mine.name == theirs.name
        assert hash_file(mine / "model.safetensors") == hash_file(theirs / "model.safetensors")
    assert _measured(broken) == _measured(whole)
    if isinstance(find_task(task), Synthesiser):
        made = [[path.read_bytes() for path in ouvroir.generate(one.path, count=3).files] for one in (broken, whole)]
        assert made[0] == made[1]


def _wait_for_steps(runs: Path, process: subprocess.Popen) -> None:
    """Until the training that goes on in `runs` has written a checkpoint more, or the process is over."""
    before = set(runs.glob("*/checkpoints/step_*"))
    while process.poll() is None and set(runs.glob("*/checkpoints/step_*")) <= before:
        time.sleep(0.01)


def _measured(run: Run) -> list:
    return [(one.step, one.split, one.name, one.value) for one in run.metrics()]
