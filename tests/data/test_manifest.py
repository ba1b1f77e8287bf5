"""The manifest: what it says, and that it is read back as it was written."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ouvroir.data import manifest as manifests
from ouvroir.data.manifest import Manifest
from ouvroir.errors import DataError, ManifestError
from ouvroir.recipe import Data
from ouvroir.task import Note, Refusal, Row


@pytest.fixture(autouse=True)
def remember(monkeypatch):
    """What was written last is not remembered, so that every test reads the file. Gives the function that remembers."""
    usual = manifests._remember
    monkeypatch.setattr(manifests, "_remember", lambda path, manifest: None)
    return usual


def make(rows=None, **changes):
    rows = rows or (
        Row("b/1.bin", "b/1.bin", "1" * 64, "b", split="test", details={"length": 3, "is_x": True}),
        Row("a/1.bin", "a/1.bin", "2" * 64, "a", group="g", fields={"who": "é\u2028\n"}),
        Row("t.csv#3", "", "3" * 64, ("a", "b"), text='say "hi"\n', split="validation"),
        Row("made", "x/made.bin", "4" * 64, (), origin="synthetic", weight=0.25),
    )
    manifest = Manifest(
        root="/data",
        source="/data/t.csv",
        task="byte_task:ByteTask",
        rows=tuple(rows),
        refused=(Refusal("x", "empty", "It is empty."), Refusal("y", "empty", "It is.")),
        notes=(Note("tiny_class", "Few.", {"data.seed": "1"}),),
        data=Data(test=0.3, group_pattern="(a)"),
    )
    return dataclasses.replace(manifest, **changes)


def test_read_back_as_written():
    manifest = make()
    path = manifest.save()
    assert Manifest.load(manifest.fingerprint) == manifest
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == 1 + 4 + 2
    assert json.loads(lines[2])["id"] == "a/1.bin"


def test_fingerprint_is_of_the_rows_whatever_their_order():
    manifest = make()
    assert (
        manifest.fingerprint == make(rows=manifest.rows[::-1]).fingerprint == make(notes=(), root="/else").fingerprint
    )
    moved = dataclasses.replace(manifest.rows[0], split="train")
    assert manifest.fingerprint != make(rows=(moved, *manifest.rows[1:])).fingerprint


def test_damage_is_noticed():
    manifest = make()
    path = manifest.save()
    text = path.read_text(encoding="utf-8")
    for damaged in (text[:200], text.replace('"a/1.bin"', '"a/2.bin"'), "", text.replace("sha256", "sha"), text[:-20]):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(ManifestError, match="ouvroir check"):
            Manifest.load(manifest.fingerprint)
    with pytest.raises(ManifestError, match="no manifest"):
        Manifest.load("0" * 64)


def test_counts_labels_and_positions():
    manifest = make()
    assert manifest.found == 6
    assert manifest.labels == ("a", "b")
    assert manifest.is_multi_label
    assert manifest.counts() == {"train": {"": 1, "a": 1}, "validation": {"a": 1, "b": 1}, "test": {"b": 1}}
    assert manifest.positions("train").tolist() == [1, 3]
    assert manifest.positions("train").dtype == np.int64


def test_a_content_is_judged_once_and_not_under_two_labels():
    same = [Row(f"t/{n}", f"t/{n}", "5" * 64, label, split="test") for n, label in enumerate([None, "a", "a"])]
    torn = [Row(f"v/{n}", f"v/{n}", "6" * 64, label, split="validation") for n, label in enumerate("ab")]
    sets = [Row(f"s/{n}", f"s/{n}", "7" * 64, label, split="test") for n, label in enumerate((("a", "b"), ("b", "a")))]
    learned = [Row(f"l/{n}", f"l/{n}", "8" * 64, "a") for n in range(3)]
    manifest = make(rows=(*same, *torn, *sets, *learned))
    assert manifest.judged("test").tolist() == [1, 5]  # the copy with a label; an order is no other label
    assert manifest.judged("validation").tolist() == []
    summary = manifest.summary()
    assert (summary["admitted"], summary["contents"]) == (10, 4)
    assert summary["splits"] == {"train": 3, "validation": 2, "test": 5}
    assert summary["judged"] == {"validation": 0, "test": 2}
    assert summary["unjudged"] == {"repeated": 3, "contradictory labels": 2}  # train rows are not counted


def test_summary_is_plain_json():
    summary = json.loads(json.dumps(make().summary()))
    assert (summary["found"], summary["admitted"], summary["refused"]) == (6, 4, 2)
    assert summary["refused_by_code"] == {"empty": 2}
    assert summary["refusals"][0] == {"id": "x", "code": "empty", "reason": "It is empty."}
    assert summary["splits"] == {"train": 2, "validation": 1, "test": 1}
    assert summary["synthetic"] == 1
    assert summary["notes"][0]["proposal"] == {"data.seed": "1"}


def test_what_cannot_be_trained_on():
    with pytest.raises(DataError, match=r"None of the 2 rows.*2 empty.*It is empty"):
        make(rows=[]).__class__(root="/", source="/d", task="t", rows=(), refused=make().refused).require_trainable()
    with pytest.raises(DataError, match="no class at all"):
        make(rows=[Row("a", "a", "1" * 64)]).require_trainable()
    make(rows=[Row("a", "a", "1" * 64)]).require_trainable(needs_labels=False)
    make().require_trainable()


def test_a_hundred_thousand_rows_are_read_again():
    rows = [
        Row(f"c{n % 10}/{n:06d}.bin", f"c{n % 10}/{n:06d}.bin", f"{n:064x}", f"c{n % 10}", details={"length": n})
        for n in range(100_000)
    ]
    manifest = make(rows=rows)
    manifest.save()
    loaded = Manifest.load(manifest.fingerprint)
    assert len(loaded.rows) == 100_000


def test_the_one_written_or_read_last_is_not_read_again_while_it_is_in_use(remember, monkeypatch):
    monkeypatch.setattr(manifests, "_remember", remember)
    manifest = make(check_s=5.0)
    path = manifest.save()
    known = Manifest.load(manifest.fingerprint)
    assert known.rows is manifest.rows
    assert known.summary() == manifest.summary()
    assert known.check_s == 0  # a check took it, and reading did not
    with pytest.raises(ManifestError, match="changed after it was written"):
        Manifest.load("0" * 64, path)
    fingerprint, rows = manifest.fingerprint, manifest.rows
    del manifest, known
    read = Manifest.load(fingerprint)  # nobody had it any more
    assert read.rows == rows
    assert read.rows is not rows
    path.write_text(path.read_text(encoding="utf-8").replace('"a/1.bin"', '"a/22.bin"'), encoding="utf-8")
    with pytest.raises(ManifestError, match="changed after it was written"):
        Manifest.load(fingerprint)
    path.unlink()
    with pytest.raises(ManifestError, match="There is no manifest"):
        Manifest.load(fingerprint)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"details":{"length":3,"is_x":true}', '"details":null'), ("}\n{", "},{"), ('"admitted":4', '"admitted":3')],
)
def test_whatever_is_wrong_in_the_file_is_said_in_one_way(old, new):
    manifest = make()
    path = manifest.save()
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"`ouvroir check DATA` writes it again"):
        Manifest.load(manifest.fingerprint)


def test_values_that_come_again_and_again_are_one_object_each():
    rows = [Row(f"{n}.bin", f"{n}.bin", str(n) * 64, "cat", details={"mode": "RGB", "low": 0.25}) for n in range(5)]
    manifest = make(rows)
    manifest.save()
    found = Manifest.load(manifest.fingerprint).rows
    assert list(found) == rows
    for name in ("mode", "low"):
        assert len({id(row.details[name]) for row in found}) == 1
    assert len({id(row.label) for row in found}) == 1
