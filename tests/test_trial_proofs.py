"""The trial does not lie: with real trainings on digits, what is known to harm, to do nothing and to help is found so.

Ten trials on ten splits, with samples put straight into the arm, half of each batch, no filter. About a quarter of an hour on
two cores, so these run in `make test-all`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import ouvroir
import pictures
from ouvroir.arms import Arm, Design
from ouvroir.ground import Ground
from ouvroir.options import Workplace
from ouvroir.trials import hold_trial

N_TRIALS = 10
PER_CLASS = 10
N_HIDDEN = 60
SETTINGS = {
    "loop.steps": 300,
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 32,
    "loop.batch_size": 32,
    "data.per_class": PER_CLASS,
    "data.validation": 0.05,
}
AT = Workplace()


def as_samples(rows, labels=None):
    """Rows as if a generator had made them."""
    labels = [row.label for row in rows] if labels is None else labels
    return [
        replace(row, id=f"synthetic:{row.id}", label=label, origin="synthetic")
        for row, label in zip(rows, labels, strict=True)
    ]


def arm(name, rows):
    return Arm(name, f"Half of each batch: {name}.", lambda way: way.learning_from(rows, share=0.5))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """By arm, the verdicts of ten trials; those that asked for more seeds were given 16."""
    place = tmp_path_factory.mktemp("proofs")
    found = {"shuffled": [], "copies": [], "hidden": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        for number in range(N_TRIALS):
            folder, hidden = hide_some(place / str(number), number)
            settings = {**SETTINGS, "data.seed": number, "loop.seed": 1000 + number}
            run = ouvroir.train(folder, preset="tiny", settings=settings, runs=place / "runs")
            for name, verdict in one_trial(run, number, hidden).items():
                found[name].append(verdict)
    return found


def hide_some(place, number):
    """The digits in a folder, and as rows 60 of each class, drawn at random, that were taken out of it."""
    folder = pictures.write_digits(place / "digits", per_class=170, classes="0123456789")
    rng = np.random.default_rng(number)
    for label in "0123456789":
        (place / "others" / label).mkdir(parents=True)
        names = sorted(path.name for path in (folder / label).iterdir())
        for name in rng.choice(names, N_HIDDEN, replace=False).tolist():
            (folder / label / name).rename(place / "others" / label / name)
    rows = ouvroir.check(place / "others").rows
    return folder, [replace(row, locator=str(place / "others" / row.locator)) for row in rows]


def one_trial(run, number, hidden):
    """`hidden`: real rows that are in no split."""
    ground = Ground.of(run)
    train = [row for row in ground.manifest.rows if row.split == "train"]
    labels = np.random.default_rng(number).permutation([row.label for row in hidden]).tolist()
    arms = [
        arm("shuffled", as_samples(hidden, labels)),
        arm("copies", as_samples(train)),
        arm("hidden", as_samples(hidden)),
    ]
    found = {}
    for one in arms:  # each is a trial of its own; the ordinary way is trained once for all of them
        found[one.name] = verdict_of(ground, arms, one.name, seeds=6)
        if found[one.name] == "unreliable":
            found[one.name] = verdict_of(ground, arms, one.name, seeds=16)
    ground.crew.close()
    return found


def verdict_of(ground, arms, name, *, seeds):
    judged = hold_trial(ground, Design.of(arms, chief=name), AT, name="proof", seeds=seeds)
    return judged["arms"][name]["verdict"]


@pytest.mark.slow
def test_shuffled_labels_are_never_admitted_and_found_harmful(verdicts):
    assert "admitted" not in verdicts["shuffled"]
    assert verdicts["shuffled"].count("harmful") >= 9


@pytest.mark.slow
def test_copies_of_train_rows_are_hardly_ever_admitted(verdicts):
    assert verdicts["copies"].count("admitted") <= 1


@pytest.mark.slow
def test_hidden_real_rows_are_admitted(verdicts):
    assert verdicts["hidden"].count("admitted") >= 9
