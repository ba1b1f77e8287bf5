"""What a language model meets that is hard: few texts, texts that are shorter than a window, rare classes, rates that are wild."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import ouvroir
from ouvroir import workflow
from ouvroir.data.loader import Sampler
from ouvroir.errors import NonFiniteLoss
from ouvroir.media import find_task
from ouvroir.media.text.baselines import ngram_answers
from ouvroir.media.text.kneser_ney import MOST_ORDER, KneserNey
from ouvroir.media.text.pieces import pieces_of
from ouvroir.progress import QUIET

QUICK = {"loop.threads": 1, "loop.batch_size": 8, "loop.precision": "fp32", "loop.layout": "contiguous"}
WORDS = (
    "sea road lamp bird rain bread stone river light window garden letter morning summer quiet narrow old café".split()
)
TASK = find_task("text-generation")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))


def prose(seed, n):
    rng = random.Random(seed)
    return "".join(f"{' '.join(rng.choices(WORDS, k=8))}.\n" for _ in range(n))


def write(folder, **texts):
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def prepared(folder, **settings):
    manifest = ouvroir.check(
        folder, task=TASK.name, settings={f"data.{name}": value for name, value in settings.items()}
    )
    recipe, _ = TASK.recipe(manifest, "tiny")
    return workflow.prepare(TASK, manifest, recipe.replace("options", context=16), workers=1, progress=QUIET)


@pytest.mark.parametrize("network", ["lstm", "transformer"])
def test_texts_shorter_than_a_window_are_judged_as_a_direct_computation_has_it(tmp_path, network):
    folder = write(tmp_path / "few", **{f"f{number}": prose(number, 12) for number in range(12)})
    settings = {**QUICK, "loop.steps": 20, "options.network": network, "options.context": 1000}
    run = ouvroir.train(folder, preset="tiny", settings=settings, runs=tmp_path / "runs")
    found = run.read_json("evaluation.json")["test"]
    model = ouvroir.load(run.path)
    manifest = workflow.manifest_of(run)
    nats = n_characters = n_bytes = 0.0
    for row in manifest.rows:
        if row.split != "test":
            continue
        pieces = torch.from_numpy(model.processor.encode(row.source(manifest.root), TASK.limits)["pieces"]).long()
        assert len(pieces) < 1000
        with torch.inference_mode():
            shares = model.model(pieces[None, :-1])[0].double().log_softmax(-1)
        nats -= float(shares.gather(1, pieces[1:, None]).sum())
        text = row.source(manifest.root).read(10**6).decode()
        n_characters, n_bytes = n_characters + len(text), n_bytes + len(text.encode())
    assert n_characters > 300
    assert found["nats_per_character"]["value"] == pytest.approx(nats / n_characters, rel=1e-4)
    assert found["bits_per_byte"]["value"] == pytest.approx(nats / n_bytes / np.log(2), rel=1e-4)


@pytest.mark.parametrize("network", ["lstm", "transformer"])
def test_a_rate_that_is_wild_ends_in_a_sentence_and_nothing_is_lost(tmp_path, network):
    folder = write(tmp_path / "books", one=prose(0, 900))
    before = {path: path.read_bytes() for path in folder.rglob("*.txt")}
    settings = {**QUICK, "loop.steps": 30, "options.network": network, "options.context": 16, "optim.lr": 1e9}
    with pytest.raises(NonFiniteLoss, match=r"lower optim\.lr \(it is 1e\+09\)") as told:
        ouvroir.train(folder, preset="tiny", settings=settings, runs=tmp_path / "runs")
    assert "@" not in str(told.value)
    (run,) = (ouvroir.Run(path) for path in (tmp_path / "runs").iterdir())
    assert run.state == "failed"
    assert run.recipe().optim.lr == 1e9
    assert {path: path.read_bytes() for path in folder.rglob("*.txt")} == before
    again = ouvroir.train(folder, preset="tiny", settings={**settings, "optim.lr": 1e-3}, runs=tmp_path / "runs")
    assert again.state == "finished"


def test_balanced_sampling_draws_windows_of_each_class_alike(tmp_path):
    folder = tmp_path / "classes"
    for number in range(24):
        write(folder, **{f"often/{number}": prose(number, 6)})
    for number in range(4):
        write(folder, **{f"rare/{number}": prose(100 + number, 2)})
    data = prepared(folder)
    table = data.tables["train"]
    items = TASK.items(table, data.processor, training=True)
    classes = table.targets["labels"].numpy()[items.row]
    assert len(items.row) > 2 * len(table)

    def drawn(sampling):
        sampler = Sampler(items, seed=0, batch_size=len(items.row), sampling=sampling)
        return np.bincount(classes[sampler.draw(0)], minlength=2) / len(items.row)

    assert drawn("plain")[1] < 0.15
    assert drawn("balanced") == pytest.approx([0.5, 0.5], abs=0.01)
    of_none = prepared(write(tmp_path / "corpus", one=prose(0, 900)))
    assert TASK.items(of_none.tables["train"], of_none.processor, training=True).stratum is None


@pytest.mark.parametrize("n_files", [1, 12])
def test_the_length_of_n_grams_is_not_chosen_where_they_were_counted(tmp_path, n_files):
    texts = {f"f{number}": prose(number, 720 // n_files) for number in range(n_files)}
    write(tmp_path / "data" / "train", **texts)
    write(tmp_path / "data" / "test", other=prose(99, 200))
    data = prepared(tmp_path / "data", validation=0)
    assert set(data.tables) == {"train", "test"}
    tokenizer = data.processor.tokenizer
    known, asked = (list(pieces_of(data.tables[split])) for split in ("train", "test"))

    def loss(order):
        return sum(KneserNey.of(known, tokenizer.n, order).nats(row)[1:].sum() for row in asked)

    found = ngram_answers(data.tables, tokenizer).answers.loss.sum()
    losses = [loss(order) for order in range(2, MOST_ORDER + 1)]
    assert min(losses) < 0.99 * losses[-1], "the longest are not the best here"
    assert found < (min(losses) + losses[-1]) / 2
    assert any(found == pytest.approx(one, rel=1e-9) for one in losses), "in the end all rows are counted"


def test_one_row_alone_is_cut_to_choose(tmp_path):
    write(tmp_path / "data" / "train", one=prose(0, 30))
    write(tmp_path / "data" / "test", other=prose(1, 30))
    data = prepared(tmp_path / "data", validation=0)
    assert len(data.tables["train"]) == 1
    assert np.isfinite(ngram_answers(data.tables, data.processor.tokenizer).answers.loss).all()
