"""Repeatable splits that keep whole groups together and give every class its share.

Rows become units: the rows of one group, or a row alone. A unit goes to one split. Units are visited in an order drawn
from the seed and the content of the rows, never from their names or their number, and rows that were split before stay
where they were, so that a file added later moves no other.

Cost of a choice: the squared distance of every class from its wanted count, after Sechidis et al. 2011, "On the
stratification of multi-label data", which assigns one row at a time by the greatest remaining need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ouvroir.data.blocks import block_bytes
from ouvroir.errors import RecipeError
from ouvroir.recipe import Data
from ouvroir.task import SPLITS

TRAIN, VALIDATION, TEST = range(len(SPLITS))
UNKNOWN = -1
USUAL, OF_A_CORPUS = (0.15, 0.2), (0.1, 0.1)
"""Shares for validation and for the test."""


def with_shares(data: Data, task: str, *, is_labelled: bool) -> Data:
    """The settings with the shares to hold out, where none was asked for. Raises RecipeError when they leave nothing to learn from.

    Smaller ones of rows that are cut from long files and not told apart by labels: each is long, and all are learned from alike.
    """
    validation, test = OF_A_CORPUS if block_bytes(task) and not is_labelled else USUAL
    validation = validation if data.validation is None else data.validation
    test = test if data.test is None else data.test
    if data.per_class is None and validation + test >= 1:
        raise RecipeError(
            f"data.validation ({validation:g}) and data.test ({test:g}) leave nothing to learn from. Together they must stay "
            "below 1."
        )
    return replace(data, validation=validation, test=test)


@dataclass(frozen=True)
class Wanted:
    """What the splits should be. `share`: of validation and test; `per_class`: train rows of each class, or None."""

    validation: float
    test: float
    per_class: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Units:
    """Units as columns. `rows[u]` are row places; `classes[u]` maps class number to rows; `order[u]` is a drawn number."""

    rows: list[list[int]]
    classes: list[dict[int, int]]
    order: np.ndarray
    fixed: list[int]


def assign(
    labels: Sequence[tuple[str, ...]],
    groups: Sequence[str],
    contents: Sequence[str],
    earlier: Sequence[int],
    wanted: Wanted,
) -> np.ndarray:
    """Split codes (n,) int8: 0 train, 1 validation, 2 test.

    `labels`: class names of each row. `groups`: rows of equal non-empty name stay together. `contents`: SHA-256 as hex.
    `earlier`: the code a row had before, or -1; a group with several earlier codes goes to the most held out of them.
    """
    result = np.zeros(len(labels), dtype=np.int8)
    if not len(labels):
        return result
    names = sorted({name for row in labels for name in row})
    number = {name: place for place, name in enumerate(names)}
    numbers = [[number[name] for name in row] or [len(names)] for row in labels]
    units = _make_units(numbers, groups, contents, earlier, wanted.seed)
    need = _desired(numbers, len(names) + 1, wanted)
    chosen = _place_units(units, need, is_exact=wanted.per_class is not None)
    for unit, split in enumerate(chosen):
        result[units.rows[unit]] = split
    if wanted.per_class is not None and max(earlier) != UNKNOWN:
        in_train = np.bincount(
            [name for row in np.flatnonzero(result == TRAIN) for name in numbers[row]], minlength=len(need)
        )
        if (in_train < need[:, TRAIN]).any():  # rows went away since; an exact number goes before staying in place
            return assign(labels, groups, contents, [UNKNOWN] * len(labels), wanted)
    return result


def _drawn_numbers(contents: Sequence[str], seed: int) -> np.ndarray:
    """(n,) uint64 from the first eight bytes of each hash and the seed (SplitMix64, Steele et al. 2014, figure 15)."""
    heads = np.frombuffer(bytes.fromhex("".join(content[:16] for content in contents)), dtype=">u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        value = heads + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def _make_units(
    numbers: list[list[int]], groups: Sequence[str], contents: Sequence[str], earlier: Sequence[int], seed: int
) -> _Units:
    drawn = _drawn_numbers(contents, seed)
    unit_of: dict[str, int] = {}
    rows: list[list[int]] = []
    for place, group in enumerate(groups):
        if not group:
            rows.append([place])
        elif group in unit_of:
            rows[unit_of[group]].append(place)
        else:
            unit_of[group] = len(rows)
            rows.append([place])
    classes: list[dict[int, int]] = []
    fixed: list[int] = []
    order = np.empty(len(rows), dtype=np.uint64)
    for unit, places in enumerate(rows):
        counted: dict[int, int] = {}
        for place in places:
            for name in numbers[place]:
                counted[name] = counted.get(name, 0) + 1
        classes.append(counted)
        fixed.append(max(earlier[place] for place in places))
        order[unit] = drawn[places[0]] if len(places) == 1 else drawn[places].min()
    return _Units(rows, classes, order, fixed)


def _desired(numbers: list[list[int]], n_classes: int, wanted: Wanted) -> np.ndarray:
    """(n_classes, 3) int64 rows wanted in each split; every class that has a row has one in train."""
    total = np.bincount([name for row in numbers for name in row], minlength=n_classes)
    need = np.zeros((n_classes, 3), dtype=np.int64)
    held_out = wanted.validation + wanted.test
    for name, n in enumerate(total.tolist()):
        if wanted.per_class is not None:
            rest = max(0, n - wanted.per_class)
            test = round(rest * wanted.test / held_out) if wanted.validation else rest * (wanted.test > 0)
            need[name] = (n - rest, rest - test, test)
            continue
        test = max(round(n * wanted.test), int(wanted.test > 0 and n >= 2))
        validation = max(round(n * wanted.validation), int(wanted.validation > 0 and n >= 3))
        validation = min(validation, max(0, n - 1 - test))
        test = min(test, max(0, n - 1))
        need[name] = (n - test - validation, validation, test)
    return need


def _place_units(units: _Units, need: np.ndarray, *, is_exact: bool) -> list[int]:
    chosen = list(units.fixed)
    remaining = need.copy()
    for unit, split in enumerate(chosen):
        if split != UNKNOWN:
            _take(remaining, units.classes[unit], split)
    visit = sorted(
        (unit for unit, split in enumerate(chosen) if split == UNKNOWN),
        key=lambda unit: (-len(units.rows[unit]), int(units.order[unit])),
    )
    _seat_classes_in_train(units, visit, chosen, remaining)
    scale = np.maximum(need, 1)
    is_open = [True, bool(need[:, VALIDATION].any()), bool(need[:, TEST].any())]
    alone: dict[int, list[int]] = {}
    for unit in visit:
        if chosen[unit] != UNKNOWN:
            continue
        if len(units.rows[unit]) == 1 and len(units.classes[unit]) == 1:
            alone.setdefault(next(iter(units.classes[unit])), []).append(unit)
            continue
        chosen[unit] = _best_split(units.classes[unit], remaining, scale, is_open, is_exact=is_exact)
        _take(remaining, units.classes[unit], chosen[unit])
    for name, waiting in alone.items():
        _fill(name, waiting, chosen, remaining, is_open, is_exact=is_exact)
    if not is_exact:
        _hold_out_something(units, chosen, need)
    return chosen


def _take(remaining: np.ndarray, classes: Mapping[int, int], split: int) -> None:
    for name, n in classes.items():
        remaining[name, split] -= n


def _seat_classes_in_train(units: _Units, visit: list[int], chosen: list[int], remaining: np.ndarray) -> None:
    """Give each class that train lacks its smallest unit, rarest class first: what is not in train cannot be learned."""
    present = {name for unit, split in enumerate(chosen) if split == TRAIN for name in units.classes[unit]}
    offers: dict[int, list[int]] = {}
    for unit in reversed(visit):  # smallest first
        for name in units.classes[unit]:
            if name not in present:
                offers.setdefault(name, []).append(unit)
    for name in sorted(offers, key=lambda name: (len(offers[name]), name)):
        if name in present:
            continue
        unit = offers[name][0]
        chosen[unit] = TRAIN
        _take(remaining, units.classes[unit], TRAIN)
        present.update(units.classes[unit])


def _best_split(
    classes: Mapping[int, int], remaining: np.ndarray, scale: np.ndarray, is_open: list[bool], *, is_exact: bool
) -> int:
    costs = []
    for split in range(3):
        cost = 0.0
        for name, n in classes.items():
            cost += (n * n - 2.0 * n * float(remaining[name, split])) / float(scale[name, split])
            if is_exact and split == TRAIN and n > remaining[name, TRAIN]:
                cost = np.inf
        costs.append(cost if is_open[split] else np.inf)
    return int(np.argmin(costs)) if min(costs) < np.inf else TRAIN


def _fill(
    name: int, waiting: list[int], chosen: list[int], remaining: np.ndarray, is_open: list[bool], *, is_exact: bool
) -> None:
    """Single rows of one class: first what test still needs, then validation, then train, then the surplus.

    An exact number for train is served first, and the surplus goes elsewhere if it can.
    """
    wants = [max(0, int(remaining[name, split])) for split in range(3)]
    place = 0
    for split in (TRAIN, TEST, VALIDATION) if is_exact else (TEST, VALIDATION, TRAIN):
        for unit in waiting[place : place + wants[split]]:
            chosen[unit] = split
            remaining[name, split] -= 1
        place += wants[split]
    open_splits = [split for split in range(3) if is_open[split]]
    offered = (open_splits[1:] or open_splits) if is_exact else open_splits
    surplus = max(offered, key=lambda split: remaining[name, split])
    for unit in waiting[place:]:
        chosen[unit] = surplus


def _hold_out_something(units: _Units, chosen: list[int], need: np.ndarray) -> None:
    """Large groups may leave a split empty that should not be: move the smallest train unit that no class needs there."""
    for split in (TEST, VALIDATION):
        if not need[:, split].any() or split in chosen:
            continue
        in_train = np.zeros(len(need), dtype=np.int64)
        for unit, where in enumerate(chosen):
            if where == TRAIN:
                for name in units.classes[unit]:
                    in_train[name] += 1
        spare = [
            unit
            for unit, where in enumerate(chosen)
            if where == TRAIN
            and units.fixed[unit] == UNKNOWN
            and all(in_train[name] > 1 for name in units.classes[unit])
        ]
        if spare:
            chosen[min(spare, key=lambda unit: (len(units.rows[unit]), int(units.order[unit])))] = split
