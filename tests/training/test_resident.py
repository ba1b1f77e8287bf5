"""Rows that lie on the device give the same batches, and the largest items are found."""

import numpy as np
import torch
import toy

from ouvroir.data.table import Ragged
from ouvroir.task import Items
from ouvroir.training import resident
from ouvroir.training.device import to_device
from ouvroir.training.step import Feed


class Words(toy.ToyTable):
    """Rows of unequal length."""

    def slice(self, index, start=None, length=None):
        found = super().slice(index, start, length)
        lengths = 1 + found.index % 7
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        found.fields["words"] = Ragged(torch.zeros(int(offsets[-1])), offsets)
        return found


def test_a_resident_table_slices_like_the_table(monkeypatch):
    monkeypatch.setattr(resident, "ROWS_AT_ONCE", 10)
    table = toy.blobs(33)
    items = toy.ToyTask().items(table, None, training=True)
    there = resident.make_resident(table, items, "cpu")
    assert isinstance(there, resident.ResidentTable)
    assert len(there) == 33
    places = np.array([4, 32, 4, 0])
    for kind in (places, torch.from_numpy(places)):
        one, other = there.slice(kind), table.slice(kind)
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.fields["points"], other.fields["points"])
        assert torch.equal(one.targets["labels"], other.targets["labels"])
        assert torch.equal(one.weight, other.weight)
    assert there.ids(places) == table.ids(places)
    assert there.source(3) == table.source(3)
    batch = Feed(toy.ToyTask(), there, items).batch(places, "cpu")
    assert batch["points"].shape == (4, 2)


def test_what_does_not_fit_or_is_cut_stays_where_it_is(monkeypatch):
    table = toy.blobs(8)
    windows = Items(row=np.arange(8), start=np.zeros(8, dtype=np.int64), length=np.ones(8, dtype=np.int64))
    assert resident.make_resident(table, windows, "cpu") is table
    words = Words(table.points.numpy(), table.targets["labels"].numpy())
    items = Items(row=np.arange(8))
    assert resident.make_resident(words, items, "cpu") is words
    monkeypatch.setattr(resident, "free_memory", lambda _: 10)
    assert resident.make_resident(table, items, "cpu") is table


def test_sizes_of_items(monkeypatch):
    table = toy.blobs(20)
    words = Words(table.points.numpy(), table.targets["labels"].numpy())
    items = Items(row=np.arange(20))
    assert resident.item_sizes(table, items) is None
    assert resident.item_sizes(words, items).tolist() == [1 + i % 7 for i in range(20)]
    lengths = np.arange(20)
    assert resident.item_sizes(table, Items(row=np.arange(20), length=lengths)) is lengths
    monkeypatch.setattr(resident, "MOST_SIZED", 5)
    assert np.count_nonzero(resident.item_sizes(words, items)) == 5


def test_batches_on_a_cpu_are_not_copied():
    batch = {"x": torch.zeros(2), "name": "y"}
    assert to_device(batch, "cpu") is batch
    assert to_device(batch, "meta")["x"].device.type == "meta"
