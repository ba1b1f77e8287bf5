"""Splits: whole groups, every class its share, the same each time, and nobody moves."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ouvroir.data.splits import TEST, TRAIN, UNKNOWN, VALIDATION, Wanted, assign


def hashes(n, salt=""):
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(n)]


def split(labels, groups=None, earlier=None, contents=None, **wanted):
    n = len(labels)
    wanted = Wanted(**{"validation": 0.15, "test": 0.2, **wanted})
    labels = [(label,) if isinstance(label, str) else label for label in labels]
    return assign(labels, groups or [""] * n, contents or hashes(n), earlier or [UNKNOWN] * n, wanted).tolist()


def counts(labels, codes):
    return {
        name: [sum(pair == (code, name) for pair in zip(codes, labels, strict=True)) for code in range(3)]
        for name in set(labels)
    }


def test_shares_by_class():
    labels = ["a"] * 100 + ["b"] * 20 + ["c"] * 3 + ["d"] * 2 + ["e"]
    codes = split(labels)
    assert counts(labels, codes) == {"a": [65, 15, 20], "b": [13, 3, 4], "c": [1, 1, 1], "d": [1, 0, 1], "e": [1, 0, 0]}


def test_seed_and_content_decide_and_order_and_names_do_not():
    labels = ["a", "b"] * 50
    contents = hashes(100)
    codes = split(labels)
    order = np.random.default_rng(0).permutation(100)
    shuffled = split([labels[i] for i in order], contents=[contents[i] for i in order])
    assert [shuffled[i] for i in np.argsort(order)] == codes
    assert split(labels, seed=1) != codes
    assert split(labels, seed=0) == codes


def test_speakers_stay_whole_and_each_split_has_some():
    labels = [str(number % 10) for number in range(600)]
    groups = [f"s{number // 100}" for number in range(600)]
    codes = split(labels, groups)
    where = {(group, code) for group, code in zip(groups, codes, strict=True)}
    assert len(where) == 6
    assert sorted(Counter(code for _, code in where).values()) == [1, 1, 4]


def test_two_groups_leave_one_to_test_and_one_group_none():
    assert set(split(["a", "b"] * 50, ["x"] * 50 + ["y"] * 50)) == {TRAIN, TEST}
    assert set(split(["a", "b"] * 50, ["x"] * 100)) == {TRAIN}


def test_a_class_of_one_group_is_in_train():
    labels = ["a"] * 30 + ["b"] * 10
    groups = [""] * 30 + ["only"] * 10
    assert split(labels, groups)[30:] == [TRAIN] * 10


def test_per_class_is_exact_with_pairs_that_belong_together():
    labels = ["a"] * 40 + ["b"] * 41
    groups = [f"g{number // 2}" if number % 40 < 20 else "" for number in range(81)]
    codes = split(labels, groups, per_class=15)
    assert {name: found[0] for name, found in counts(labels, codes).items()} == {"a": 15, "b": 15}
    assert abs(codes.count(VALIDATION) / (81 - 30) - 0.15 / 0.35) < 0.1


def test_nothing_set_aside_when_nothing_is_wanted():
    assert set(split(["a", "b"] * 9, validation=0.0, test=0.0)) == {TRAIN}
    assert set(split(["a", "b"] * 9, validation=0.0)) == {TRAIN, TEST}


def test_earlier_rows_stay_and_new_ones_fill_up():
    labels = ["a", "b"] * 50
    contents = hashes(100)
    before = split(labels, contents=contents)
    after = split(labels * 2, earlier=before + [UNKNOWN] * 100, contents=contents + hashes(100, "late"))
    assert after[:100] == before
    assert counts(labels * 2, after)["a"] == [65, 15, 20]


def test_many_labels_per_row():
    rng = np.random.default_rng(0)
    labels = [tuple(np.array(["x", "y", "z", "rare"])[rng.random(4) < [0.5, 0.3, 0.8, 0.05]]) for _ in range(400)]
    codes = split(labels)
    for name, share in (("x", 0.2), ("z", 0.2), ("rare", 0.2)):
        rows = [code for label, code in zip(labels, codes, strict=True) if name in label]
        assert abs(rows.count(TEST) / len(rows) - share) < 0.08
        assert TRAIN in rows


def test_a_hundred_thousand_rows_are_split():
    n = 100_000
    codes = split([str(number % 100) for number in range(n)], contents=hashes(n))
    assert codes.count(TEST) == 20_000


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "", "g1", "g2", "g3"]), st.sampled_from([-1, -1, 0, 1, 2])),
    min_size=1,
    max_size=40,
)


@given(
    rows,
    st.sampled_from([0.0, 0.15, 0.5]),
    st.sampled_from([0.0, 0.2, 0.9]),
    st.sampled_from([None, 1, 5]),
    st.booleans(),
)
@settings(max_examples=150)
def test_groups_never_straddle_and_every_class_is_in_train(rows, validation, test, per_class, use_earlier):
    labels = [label for label, _, _ in rows]
    groups = [group for _, group, _ in rows]
    before = {}
    earlier = [
        before.setdefault(group or number, code) if use_earlier else -1 for number, (_, group, code) in enumerate(rows)
    ]
    codes = split(labels, groups, earlier, validation=validation, test=test, per_class=per_class)
    where = {}
    for group, code in zip(groups, codes, strict=True):
        assert not group or where.setdefault(group, code) == code
    if not use_earlier:
        assert {label for label, code in zip(labels, codes, strict=True) if code == TRAIN} == set(labels)
    elif per_class is None:
        assert all(code == old for code, old in zip(codes, earlier, strict=True) if old != -1)
    if test == 0 and not use_earlier:
        assert TEST not in codes
