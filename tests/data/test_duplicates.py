"""Near-duplicates: found where they are, not where rows are merely alike, and the same as by comparing all pairs."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouvroir.data import duplicates
from ouvroir.data.duplicates import Clusters, find_pairs, is_duplicate

DATA = Path(os.environ.get("OUVROIR_TEST_DATA", "/nowhere"))


def alike_keys(n, width, seed=0):
    """Rows that resemble each other, as pictures do: a falling spectrum."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)).astype(np.float32) / np.arange(1, width + 1, dtype=np.float32)


def all_close_pairs(keys):
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    return {(a, b) for a, b in zip(*np.nonzero(distance <= duplicates.MAX_DISTANCE), strict=True) if a < b}


@pytest.mark.parametrize("n", [0, 1, 2, 300, 2500])
def test_blocks_find_what_all_pairs_find(n):
    keys = alike_keys(n, 24)
    if n > 100:
        keys[-60:] = keys[:60] * 1.5 + np.float32(2e-3) * np.random.default_rng(1).standard_normal((60, 24)).astype(
            np.float32
        )
    _, unit = duplicates._unit_rows(keys)
    found = duplicates._close_pairs(unit, 0, lambda _, distance: np.ones(len(distance), dtype=bool))
    pairs = [tuple(pair) for pair in found.places.tolist()]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == (all_close_pairs(keys) if n else set())


def test_only_pairs_with_new_rows_are_looked_for():
    keys = alike_keys(400, 32)
    keys[300:340] = keys[:40]
    keys[390:400] = keys[310:320]
    whole = {tuple(pair) for pair in find_pairs(keys).places.tolist()}
    part = {tuple(pair) for pair in find_pairs(keys, n_known=350).places.tolist()}
    assert part == {pair for pair in whole if pair[1] >= 350}
    assert len(part) == 20


def test_pictures_of_one_fixed_camera_do_not_fill_the_memory():
    scene, rng = np.random.default_rng(0).standard_normal(32), np.random.default_rng(1)
    keys = (scene + 0.02 * rng.standard_normal((4000, 32))).astype(np.float32)  # 8 million pairs are close
    tracemalloc.start()
    found = find_pairs(keys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.places) < 4000
    assert peak < 120e6


def test_copies_are_found_and_neighbours_are_not():
    rng = np.random.default_rng(0)
    keys = alike_keys(1000, 64)
    copies = keys[:50] + np.float32(3e-3) * rng.standard_normal((50, 64)).astype(np.float32)
    pairs = {tuple(pair) for pair in find_pairs(np.concatenate([keys, copies])).places.tolist()}
    assert pairs == {(number, 1000 + number) for number in range(50)}


def test_rows_that_are_all_alike_are_not_merged():
    """Everything lies within MAX_DISTANCE of everything: closeness then says nothing."""
    rng = np.random.default_rng(0)
    keys = np.ones((300, 64), dtype=np.float32) + np.float32(0.03) * rng.standard_normal((300, 64)).astype(np.float32)
    assert len(all_close_pairs(keys)) > 10_000
    assert not len(find_pairs(keys).places)


def test_rows_without_a_usable_key_have_no_pair():
    keys = np.ones((4, 8), dtype=np.float32)
    keys[0] = 0
    keys[1, 3] = np.nan
    assert find_pairs(keys).places.tolist() == [[2, 3]]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_clusters_are_connected_components(pairs):
    clusters = Clusters(20)
    clusters.join_all(pairs)
    reach = np.eye(20, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(20):
        reach = reach @ reach
    for place in range(20):
        assert clusters.find(place) == int(np.flatnonzero(reach[place])[0])


def pictures_key():
    return pytest.importorskip("ouvroir.media.image.decode").near_key


@pytest.mark.skipif(not DATA.is_dir(), reason="OUVROIR_TEST_DATA is not set")
def test_digits_of_different_hands_are_not_merged():
    from PIL import Image
    from sklearn.datasets import load_digits

    near_key = pictures_key()
    raw = gzip.decompress((DATA / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    mnist = np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(-1, 28, 28)[:4000]
    scans = (load_digits().images * 15.9).astype(np.uint8)
    for pictures in (mnist, scans):
        keys = np.stack([near_key(Image.fromarray(picture)) for picture in pictures])
        assert len(find_pairs(keys).places) == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="OUVROIR_TEST_DATA is not set")
def test_photographs_are_recognised_after_recompression_and_brightening():
    from PIL import Image, ImageEnhance

    near_key = pictures_key()
    with zipfile.ZipFile(DATA / "clothing10" / "clothing10_224.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:800]
        photographs = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    changed = []
    for photograph in photographs[:60]:
        buffer = io.BytesIO()
        ImageEnhance.Brightness(photograph).enhance(0.93).save(buffer, "JPEG", quality=40)
        changed.append(Image.open(buffer))
    keys = np.stack([near_key(picture) for picture in [*photographs, *changed]])
    pairs = {tuple(pair) for pair in find_pairs(keys).places.tolist()}
    assert pairs == {(number, len(photographs) + number) for number in range(60)}


def test_copies_of_known_rows_are_told_and_new_ones_are_not():
    rng = np.random.default_rng(0)
    known, others = (rng.normal(size=(n, 32)).astype(np.float32) for n in (60, 5))
    asked = np.concatenate([others, known[[7, 3]] * 1.0001, np.zeros((1, 32), np.float32), others[:1]])
    assert is_duplicate(asked, known).tolist() == [False] * 5 + [True] * 2 + [False] * 2
    assert not is_duplicate(asked, known[:, :8]).any()
    assert is_duplicate(asked[:0], known).shape == (0,)


def test_many_copies_of_one_row_do_not_hide_each_other():
    """Twelve of one train row, each a little off, so that they are nearer to each other than to any other row."""
    rng = np.random.default_rng(1)
    known = rng.normal(size=(60, 32)).astype(np.float32)
    copies = known[7] + 0.03 * rng.normal(size=(12, 32)).astype(np.float32)
    cosine = copies @ known[7] / np.linalg.norm(copies, axis=1) / np.linalg.norm(known[7])
    assert (1 - cosine > duplicates.MIN_DISTANCE).all()
    assert is_duplicate(copies, known).all()
    assert is_duplicate(copies[:1], known).all()
    assert not is_duplicate(rng.normal(size=(5, 32)).astype(np.float32), known).any()
