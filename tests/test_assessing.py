"""Self-evaluation: halves of the train rows, and what is refused of the samples that are planted among a generator's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ouvroir
import pictures
from ouvroir import assessing, trying, workflow
from ouvroir.baselines import mislabels
from ouvroir.errors import DataError, Untried
from ouvroir.ground import Ground
from ouvroir.options import Workplace
from ouvroir.run import Run
from ouvroir.synthesis.samples import Sample, Samples
from ouvroir.task import Row

AT = Workplace()
QUICK = {
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 32,
    "loop.batch_size": 32,
}


def new_of(folder):
    """Every seventh picture: what the runs of these tests have never had, by the same writers."""
    return sorted(folder.rglob("*.png"))[::7]


def new_pictures(place):
    """(label, pixels) of rows that a perfect generator might have made."""
    folder = pictures.write_digits(place, per_class=177, classes="0123")
    return [(path.parent.name, np.asarray(Image.open(path))) for path in new_of(folder)]


def rows(labels, groups):
    return [
        Row(f"{number}.png", f"{number}.png", f"{number:064x}", label=label, group=group)
        for number, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "", "g", "h", "i"])), min_size=2, max_size=60),
    st.randoms(),
)
def test_groups_stay_in_one_half_whatever_the_order(pairs, random):
    found = rows(*zip(*pairs, strict=True))
    folds = dict(zip((row.id for row in found), assessing.folds_of(found).tolist(), strict=True))
    shuffled = list(found)
    random.shuffle(shuffled)
    again = dict(zip((row.id for row in shuffled), assessing.folds_of(shuffled).tolist(), strict=True))
    for group in "ghi":
        assert len({folds[row.id] for row in found if row.group == group}) <= 1
    assert again == folds
    if not any(row.group for row in found):
        for label in "abc":
            mine = [folds[row.id] for row in found if row.label == label]
            assert abs(mine.count(0) - mine.count(1)) <= 1


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A classifier of digits, a generator that has hardly begun, and the two classifiers that judge its samples."""
    place = tmp_path_factory.mktemp("assessing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        folder = pictures.write_digits(place / "digits", per_class=177, classes="0123")
        for path in new_of(folder):
            path.unlink()
        settings = {**QUICK, "loop.steps": 120, "data.per_class": 50}
        run = ouvroir.train(folder, preset="tiny", settings=settings, runs=place / "runs")
        made = ouvroir.train(
            folder,
            task="image-generation",
            preset="tiny",
            settings={**QUICK, "loop.steps": 3, "data.per_class": 50},
            runs=place / "made",
        )
        made.path.rename(run.path / "generator")
        ground = Ground.of(run)
        door = assessing.Door(ground, Run(run.path / "generator"), AT)
        yield ground, door, assessing.train_folds(ground, AT, ground.steps)
        ground.crew.close()


def plant(folder, planted):
    """A folder of samples that holds these (label, pixels) as if a generator had made them."""
    samples = Samples(folder)
    found = []
    for number, (label, pixels) in enumerate(planted):
        path = folder / label / f"0_{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        place = path.relative_to(folder).as_posix()
        found.append(Sample(place, label, 0, number, samples.write(place, path.read_bytes()), "0" * 64))
    samples.note(found)
    return samples


def pixels_of(ground, split, n=None):
    chosen = [row for row in ground.manifest.rows if row.split == split][:n]
    return [(row.label, np.asarray(Image.open(Path(ground.manifest.root) / row.locator))) for row in chosen]


def reasons(room, folder, planted):
    _, door, folds = room
    samples = plant(folder, planted)
    found = assessing.assess_samples(door, samples, samples.read(), AT, folds=folds)
    return [one.reason for one in sorted(found.scored, key=lambda one: int(one.id.rsplit("_", 1)[1][:5]))], found


def test_planted_copies_are_refused_and_genuine_samples_are_not(room, tmp_path):
    ground = room[0]
    rng = np.random.default_rng(0)
    copies = pixels_of(ground, "train")
    noisy = [(label, np.clip(px + rng.normal(0, 2.55, px.shape), 0, 255).astype(np.uint8)) for label, px in copies]
    moved = [(label, np.roll(px, 1, axis=1)) for label, px in copies]
    for planted in (copies, noisy, moved):
        told, _ = reasons(room, tmp_path / str(len(list(tmp_path.iterdir()))), planted)
        assert np.mean([one == "copy" for one in told]) >= 0.95
        assert "" not in told


def test_new_real_pictures_pass_for_samples(room, tmp_path):
    """Rows that the run has never had: what a perfect generator would make."""
    planted = new_pictures(tmp_path / "new")
    told, found = reasons(room, tmp_path / "samples", planted)
    assert np.mean([one in ("copy", "held_out") for one in told]) <= 0.05
    assert np.mean([one == "" for one in told]) > 0.7  # 5 % by each of the standards, and they are written otherwise
    assert len(found.rows) == told.count("")
    assert np.mean([row.weight for row in found.rows]) == pytest.approx(1, abs=1e-3)
    summary = found.summary
    assert summary["n_made"] == summary["n_kept"] + sum(summary["refused"].values()) == len(planted)
    assert summary["likeness"]["noise"] < summary["likeness"]["real"]
    assert abs(summary["likeness"]["made"] - summary["likeness"]["real"]) < 0.1
    assert summary["set"]["coverage"] > 0.6
    assert np.mean(list(summary["made_for_real"].values())) > 0.7


def test_a_held_out_picture_is_always_refused(room, tmp_path):
    ground = room[0]
    for split in ("validation", "test"):
        told, _ = reasons(room, tmp_path / split, pixels_of(ground, split))
        assert set(told) == {"held_out"}


def test_wrong_labels_and_noise_are_refused(room, tmp_path):
    wrong = [(str((int(label) + 1) % 4), pixels) for label, pixels in new_pictures(tmp_path / "new")]
    told, found = reasons(room, tmp_path / "wrong", wrong)
    assert "" not in told
    assert not found.rows
    rng = np.random.default_rng(1)
    noise = [("1", rng.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(40)]
    told, _ = reasons(room, tmp_path / "noise", noise)
    assert np.mean([one != "" for one in told]) >= 0.9


def test_scores_lie_beside_the_samples_and_are_read_again(room, tmp_path):
    ground, door, folds = room
    planted = pixels_of(ground, "train", 30)
    _, found = reasons(room, tmp_path, planted)
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert len(lines) == 30
    assert refused == [line for line in lines if line["reason"]]
    assert {line["nearest"] for line in lines} <= {row.id for row in ground.manifest.rows if row.split == "train"}
    before = (tmp_path / "scores.jsonl").stat().st_mtime_ns
    samples = Samples(tmp_path)
    again = assessing.assess_samples(door, samples, samples.read(), AT, folds=folds)
    assert again == found
    assert (tmp_path / "scores.jsonl").stat().st_mtime_ns == before
    (tmp_path / lines[0]["id"]).unlink()
    with pytest.raises(DataError, match=r"no longer there.*ouvroir generate"):
        samples.read()


def test_nothing_to_judge(room, tmp_path):
    _, door, folds = room
    with pytest.raises(Untried, match="There are no samples"):
        assessing.assess_samples(door, Samples(tmp_path / "none"), [], AT, folds=folds)


def test_the_hardest_rows_are_those_that_others_get_wrong(room):
    ground, _, folds = room
    slow = assessing.slow_rows(folds, 0.35, 1000)
    train = [row for row in ground.manifest.rows if row.split == "train"]
    assert len(slow) == pytest.approx(0.35 * len(train), abs=2)
    assert workflow.manifest_of(ground.run).fingerprint == ground.manifest.fingerprint
    few = assessing.slow_rows(folds, 0.35, 10)
    assert len(few) == 10
    for found in (slow, few):
        for number in range(2):
            scores, targets, ids = assessing._left_out(folds, number)
            right = scores[np.arange(len(targets)), targets]
            mine = np.array([name in found for name in ids])
            others = ~mine & ~mislabels(scores, targets)
            assert mine.any()
            assert right[mine].max() <= right[others].min()


def test_a_classifier_whose_weights_are_lost_or_damaged_is_trained_again(room):
    ground, _, folds = room
    place = Run(trying.place_of(folds, "fold_0", 0))
    weights = place.checkpoint("best") / "model.safetensors"
    before = weights.read_bytes()
    for spoil in (Path.unlink, lambda path: path.write_bytes(before[:-8] + b"\1" * 8)):
        spoil(weights)
        assert assessing.train_folds(ground, AT, ground.steps) == folds
        assert weights.read_bytes() == before


def test_classifiers_start_from_nothing_where_the_model_began_with_what_it_learned_again(room):
    ground = room[0]
    tuned = ground.way(3).recipe.replace("model", init_from=str(ground.run.path), scope="head")
    rows = {row.sha256 for row in ground.manifest.rows if row.split == "train"}
    anew = assessing._from_before(ground, rows, AT, tuned)
    assert (anew.model.init_from, anew.model.scope) == ("scratch", "all")
    assert assessing._from_before(ground, {"of other rows"}, AT, tuned) == tuned
    assert assessing._from_before(ground, rows, AT, ground.way(3).recipe) == ground.way(3).recipe


def test_noise_is_compared_with_rows_of_one_class_as_samples_are(room, tmp_path):
    ground, _, folds = room
    planted = pixels_of(ground, "test", 40)
    _, found = reasons(room, tmp_path, planted)
    samples = plant(tmp_path / "again", planted)
    fold, _, _ = assessing._fold(ground, folds, 0, samples, samples.read(), AT)
    assert fold.noise_labels.shape == fold.noise.shape[:1]
    assert set(fold.noise_labels.tolist()) <= set(fold.real_labels.tolist())
    assert found.summary["likeness"]["noise"] < found.summary["likeness"]["real"]
