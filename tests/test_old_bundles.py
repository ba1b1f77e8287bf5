"""Bundles of earlier releases keep loading and keep answering as they did.

`python tests/test_old_bundles.py` writes the bundle of the present version into tests/bundles; do that once per release,
after which the folder is never changed.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import ouvroir
from ouvroir import bundle as bundles
from ouvroir import replay
from ouvroir.predictor import load

FOLDER = Path(__file__).parent / "bundles"
OLD = sorted(path.parent for path in FOLDER.glob("*/config.json"))


def test_there_is_one_for_this_release():
    assert any(path.name.startswith(f"{ouvroir.__version__}_") for path in OLD)


@pytest.mark.parametrize("folder", OLD, ids=lambda path: path.name)
def test_an_old_bundle_answers_as_it_did(folder):
    bundle = bundles.load_bundle(folder)
    task, model, processor, recipe = bundle.open_model()
    items = bundle.check_items()
    assert len(items) >= 8
    answers = replay.answer(task, model, processor, recipe, items)
    assert np.abs(answers.scores - items.scores).max() < 1e-3
    assert (answers.scores.argmax(axis=1) == items.scores.argmax(axis=1)).all()
    assert load(folder, device="cpu").labels == bundle.labels


def write_present() -> Path:
    from ouvroir import api

    with tempfile.TemporaryDirectory() as place:
        os.environ["OUVROIR_HOME"] = f"{place}/home"
        api.sample("image-classification", Path(place) / "digits")
        steps = {"loop.steps": "150", "loop.precision": "fp32", "loop.layout": "contiguous", "loop.threads": "1"}
        run = api.train(Path(place) / "digits", preset="tiny", settings=steps, runs=Path(place) / "runs", device="cpu")
        target = FOLDER / f"{ouvroir.__version__}_image-classification"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(run.bundle, target)
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{write_present()}\n")
