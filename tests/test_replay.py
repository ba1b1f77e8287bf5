from dataclasses import replace

import numpy as np
import pytest
import torch

from ouvroir import replay
from ouvroir.data.table import Ragged, TableSlice
from ouvroir.errors import CheckpointError, DataError, ExportError
from toy_run import make_manifest
from toy_task import NumberProcessor, Numbers, write_data

LABELS = ("large", "small", "wide")


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return make_manifest(write_data(tmp_path / "numbers", 10))


def make(n_rows=5):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 0, 5, 1, 2])[:n_rows]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    rows = TableSlice(
        index=torch.arange(n_rows),
        fields={
            "fixed": torch.randint(0, 256, (n_rows, 2, 3), generator=generator, dtype=torch.uint8),
            "ragged": Ragged(torch.randn(int(offsets[-1]), 2, generator=generator), offsets),
        },
        targets={"labels": torch.arange(n_rows)},
        weight=torch.ones(n_rows),
        start=torch.arange(n_rows) * 2,
        length=torch.arange(n_rows) + 1,
    )
    scores = np.full((n_rows, 3), 1 / 3, dtype=np.float32)
    return replay.Replay(
        ids=tuple(f"é {place}" for place in range(n_rows)), rows=rows, kind="held-out rows", scores=scores
    )


def same(one, other):
    assert one.fields["fixed"].equal(other.fields["fixed"])
    assert one.fields["ragged"].values.equal(other.fields["ragged"].values)
    assert one.fields["ragged"].offsets.equal(other.fields["ragged"].offsets)
    for name in ("index", "weight", "start", "length"):
        assert getattr(one, name).equal(getattr(other, name))
    assert one.targets["labels"].equal(other.targets["labels"])


def test_rows_come_back_from_a_file(tmp_path):
    items = make()
    replay.save(tmp_path / "items", items)
    back = replay.load(tmp_path / "items")
    assert (back.ids, back.kind, len(back)) == (items.ids, items.kind, 5)
    assert (back.scores == items.scores).all()
    same(back.rows, items.rows)


def test_rows_without_windows_or_scores_come_back_too(tmp_path):
    items = make()
    bare = replace(items, scores=None, rows=replace(items.rows, start=None, length=None))
    replay.save(tmp_path / "items", bare)
    back = replay.load(tmp_path / "items")
    assert back.scores is back.rows.start is back.rows.length is None


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "items").write_bytes(b"\x10\0\0\0\0\0\0\0nonsense")
    with pytest.raises(CheckpointError, match="Delete it"):
        replay.load(tmp_path / "items")


def test_selecting_keeps_ragged_rows_whole():
    rows = make().rows
    chosen = replay.select(rows, torch.tensor([2, 1, 0]))
    assert chosen.fields["ragged"].offsets.tolist() == [0, 5, 5, 8]
    assert chosen.fields["ragged"].values[:5].equal(rows.fields["ragged"].values[3:8])
    assert chosen.fields["ragged"].values[5:].equal(rows.fields["ragged"].values[:3])
    assert chosen.fields["fixed"].equal(rows.fields["fixed"][[2, 1, 0]])
    same(replay.select(rows, torch.arange(5)), rows)


@pytest.mark.parametrize(("n_rows", "n_items"), [(10, 3), (3, 10), (7, 7), (1, 1), (0, 5), (1000, 200)])
def test_spread_places_are_even_and_never_repeat(n_rows, n_items):
    places = replay.spread(n_rows, n_items)
    assert len(places) == len(set(places.tolist())) == min(n_rows, n_items)
    assert all(0 <= place < n_rows for place in places)
    if len(places) > 1:
        assert np.ptp(np.diff(places)) <= 1


def test_rows_are_read_again_from_test_files(manifest):
    items = replay.from_manifest(Numbers(), NumberProcessor(LABELS), manifest, 4)
    assert len(items) == 4
    assert set(items.ids) <= {row.id for row in manifest.rows if row.split == "test"}
    assert items.kind == "held-out rows"
    assert items.rows.targets["labels"].tolist() == [LABELS.index(name.partition("/")[0]) for name in items.ids]


def test_train_rows_serve_when_nothing_was_held_out(manifest):
    everything = replace(manifest, rows=tuple(replace(row, split="train") for row in manifest.rows))
    items = replay.from_manifest(Numbers(), NumberProcessor(LABELS), everything, 100)
    assert len(items) == 30
    assert "train rows" in items.kind


def test_rows_that_are_gone_are_left_out(manifest, tmp_path):
    test = [row for row in manifest.rows if row.split == "test"]
    (tmp_path / "numbers" / test[0].locator).unlink()
    items = replay.from_manifest(Numbers(), NumberProcessor(LABELS), manifest, 100)
    assert len(items) == len(test) - 1
    assert test[0].id not in items.ids
    for row in test[1:]:
        (tmp_path / "numbers" / row.locator).unlink()
    with pytest.raises(DataError, match="can be read any more"):
        replay.from_manifest(Numbers(), NumberProcessor(LABELS), manifest, 100)


def require(found, wanted, tolerance=1e-3):
    return replay.require_same(np.array(found), np.array(wanted), make(len(wanted)), tolerance, "The copy")


def test_small_differences_pass_and_are_told():
    assert require([[0.6004, 0.3996]], [[0.6, 0.4]]) == pytest.approx(0.0004)


def test_a_flip_is_caught_however_small():
    with pytest.raises(
        ExportError, match=r"1 get another label and 0 a probability.*`é 1` \(another label, 0.0002 off\)"
    ):
        require([[0.6, 0.4], [0.4999, 0.5001]], [[0.6, 0.4], [0.5001, 0.4999]])


def test_a_difference_is_caught_although_the_label_stays():
    with pytest.raises(ExportError, match=r"0 get another label and 1 a probability more than 0\.001 off"):
        require([[0.61, 0.39]], [[0.6, 0.4]])


def test_several_labels_are_compared_one_by_one():
    assert require([[0.9, 0.8, 0.1]], [[0.9, 0.8, 0.1]]) == 0
    with pytest.raises(ExportError, match="1 get another label"):  # the best label stays, the second falls
        require([[0.9, 0.4999, 0.1]], [[0.9, 0.5001, 0.1]])


@pytest.mark.parametrize("found", [[[np.nan, 0.4]], [[0.6, 0.3, 0.1]], None])
def test_what_is_no_answer_is_caught(found):
    with pytest.raises(ExportError):
        replay.require_same(
            None if found is None else np.array(found), np.array([[0.6, 0.4]]), make(1), 1e-3, "The copy"
        )
