"""Packs and tables: what is taken is what was encoded, only new content is encoded, and nothing is left half done."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import byte_task
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ouvroir.data import pack as packs
from ouvroir.data.arrays import map_arrays, write_arrays
from ouvroir.data.pack import build_pack, plan_pack
from ouvroir.data.table import make_tables
from ouvroir.errors import DataError, DiskFull, ManifestError
from ouvroir.task import Field, Row

TASK = byte_task.ByteTask()


def files_of(n, size=20):
    return {
        f"{'ab'[number % 2]}/{number:03d}.bin": bytes([number % 251]) * (number % size + 1) + b"%d" % number
        for number in range(n)
    }


def build(manifest, **changes):
    return build_pack(manifest, byte_task.ByteProcessor(manifest.labels), workers=1, **changes)


def expected(manifest, place):
    content = manifest.rows[place].source(manifest.root).read(10**6)
    numbers = np.frombuffer(content, dtype=np.uint8)
    return np.resize(numbers, 8), numbers.astype(np.int32) * 3


def assert_right(pack, manifest, positions):
    found = pack.take(torch.tensor(positions, dtype=torch.int64))
    ragged = found["tokens"]
    assert found["dense"].shape == (len(positions), 8)
    assert ragged.offsets[0] == 0
    for number, place in enumerate(positions):
        dense, tokens = expected(manifest, place)
        assert found["dense"][number].tolist() == dense.tolist()
        assert ragged.values[ragged.offsets[number] : ragged.offsets[number + 1]].tolist() == tokens.tolist()


def shards(home):
    return sorted(home.glob("packs/*/shard_*.safetensors"))


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(packs, "SHARD_BYTES", 1000)


def test_one_shard_gives_what_was_encoded(write, check, home):
    manifest = check(write(files_of(30)))
    pack = build(manifest)
    assert pack.n_rows == 30
    assert len(shards(home)) == 1
    assert_right(pack, manifest, [3, 0, 29, 3, 17])
    assert_right(pack, manifest, [])


def test_many_shards_give_what_was_encoded(write, check, home, small_shards):
    manifest = check(write(files_of(60)))
    pack = build(manifest)
    assert len(shards(home)) > 3
    assert_right(pack, manifest, [59, 0, 31, 31, 7, 58, 1])
    assert_right(pack, manifest, list(range(60)))


@pytest.mark.parametrize("shard_bytes", [1000, 10**6])
def test_windows_of_ragged_rows(write, check, monkeypatch, shard_bytes):
    monkeypatch.setattr(packs, "SHARD_BYTES", shard_bytes)
    manifest = check(write(files_of(40)))
    positions, start, length = torch.tensor([39, 2, 20, 2]), torch.tensor([5, 0, 2, 90]), torch.tensor([4, 2, 99, 3])
    ragged = build(manifest).take(positions, start, length)["tokens"]
    for number, (place, first, n) in enumerate(zip(positions.tolist(), start.tolist(), length.tolist(), strict=True)):
        window = ragged.values[ragged.offsets[number] : ragged.offsets[number + 1]].tolist()
        assert window == expected(manifest, place)[1][first : first + n].tolist()


@pytest.mark.parametrize("shard_bytes", [1000, 10**6])
def test_lengths_are_told_without_reading_what_is_so_long(write, check, monkeypatch, shard_bytes):
    monkeypatch.setattr(packs, "SHARD_BYTES", shard_bytes)
    manifest = check(write(files_of(40)))
    pack, positions = build(manifest), torch.tensor([39, 2, 20, 2])
    monkeypatch.setattr(type(pack), "_take_ragged", None)
    found = pack.lengths("tokens", positions)
    assert found.tolist() == [len(expected(manifest, place)[1]) for place in positions.tolist()]


def test_shards_are_ordinary_safetensors_files(write, check, home):
    manifest = check(write(files_of(9)))
    build(manifest)
    arrays = load_file(shards(home)[0])
    assert arrays["keys"].shape == (9, 32)
    assert {key.tobytes().hex() for key in arrays["keys"]} == {row.sha256 for row in manifest.rows}
    assert arrays["tokens"].dtype == np.int32
    assert arrays["tokens.offsets"][-1] == len(arrays["tokens"])


def test_only_new_content_is_encoded_and_the_same_content_once(write, check, home):
    folder = write(files_of(20))
    build(check(folder))
    first = shards(home)[0].read_bytes()
    manifest = check(write({"a/copy.bin": files_of(20)["a/000.bin"], "a/new.bin": b"new"}))
    plan = plan_pack(manifest, byte_task.ByteProcessor())
    assert (plan.n_new, plan.n_kept) == (1, 20)
    pack = build(manifest)
    assert shards(home)[0].read_bytes() == first
    assert len(load_file(shards(home)[1])["keys"]) == 1
    assert_right(pack, manifest, list(range(22)))
    modified = [path.stat().st_mtime_ns for path in shards(home)]
    plan = plan_pack(manifest, byte_task.ByteProcessor())
    assert (plan.n_new, plan.n_kept, plan.n_bytes, plan.seconds) == (0, 21, 0, 0.0)
    build(manifest)
    assert [path.stat().st_mtime_ns for path in shards(home)] == modified


def test_another_way_to_encode_is_another_pack(write, check, home):
    manifest = check(write(files_of(8)))
    build(manifest)
    wide = build_pack(manifest, byte_task.ByteProcessor(width=5), workers=1)
    assert wide.take(torch.tensor([1]))["dense"].shape == (1, 5)
    assert len(list((home / "packs").iterdir())) == 2


def test_the_plan_is_about_right(write, check, home):
    manifest = check(write(files_of(300)))
    plan = plan_pack(manifest, byte_task.ByteProcessor())
    build(manifest)
    written = sum(path.stat().st_size for path in shards(home))
    assert 0.7 < plan.n_bytes / written < 1.4
    assert 0.4 < plan.seconds < 60


def test_the_plan_of_a_single_row_counts_what_is_ragged(write, check, home):
    manifest = check(write({"a/one.bin": b"x" * 5000}))
    assert plan_pack(manifest, byte_task.ByteProcessor()).n_bytes > 4 * 5000


def test_rows_that_changed_or_went_away_are_named_and_the_rest_is_kept(write, check, home, folder):
    manifest = check(write(files_of(12)))
    (folder / "a" / "004.bin").write_bytes(b"other")
    (folder / "b" / "005.bin").unlink()
    with pytest.raises(DataError, match=r"`a/004.bin` has changed.*`b/005.bin`.*ouvroir check"):
        build(manifest)
    assert plan_pack(manifest, byte_task.ByteProcessor()).n_new == 2
    again = check(folder)
    assert_right(build(again), again, list(range(11)))


@pytest.mark.parametrize("content", [b"CRASH encode", b"HANG encode"])
def test_a_decoder_that_fails_while_packing_is_told(write, check, content):
    from ouvroir.task import Limits

    manifest = check(write({**files_of(6), "a/bad.bin": content}))
    with pytest.raises(DataError, match=r"`a/bad.bin`.*Take it out"):
        build(manifest, limits=Limits(max_seconds=1.0))


def test_rows_are_found_by_their_whole_hash_and_in_the_oldest_shard():
    hashes = ["00" * 32, "00" * 31 + "01", "01" + "00" * 31, "ff" * 32, "ab" * 16 + "00" * 16]
    shards = {
        Path(name): {"keys": np.array([list(bytes.fromhex(hashes[one])) for one in places], dtype=np.uint8)}
        for name, places in (("first", [3, 0]), ("second", [2, 3, 4]))
    }
    index = packs._Index(shards)
    rows = [Row(str(number), "", one) for number, one in enumerate(hashes)]
    assert index.find(rows).tolist() == [[0, 1], [-1, -1], [1, 0], [0, 0], [1, 2]]
    assert index.new([*rows, *rows]) == [rows[1]]
    assert packs._Index({}).find(rows).tolist() == [[-1, -1]] * 5
    assert index.find([]).shape == (0, 2)
    for wrong in ("", "ab" * 31, "xy" * 32, "ab" * 33):
        for others in ([], rows):
            with pytest.raises(DataError, match="has no SHA-256 of its content"):
                index.find([*others, Row("bad", "", wrong), Row("bad too", "", "ab" * 31)])


def test_a_damaged_shard_is_made_again(write, check, home, small_shards):
    manifest = check(write(files_of(60)))
    build(manifest)
    for path, damage in zip(shards(home), (b"", b"\xff" * 30, None), strict=False):
        path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    assert_right(build(manifest), manifest, list(range(60)))


def test_synthetic_rows_are_never_judged_by(write, check):
    manifest = check(write(files_of(30)))
    processor = byte_task.ByteProcessor(manifest.labels)
    pack = build(manifest)
    for split in ("validation", "test"):
        place = manifest.positions(split)[0]
        rows = list(manifest.rows)
        rows[place] = dataclasses.replace(rows[place], origin="synthetic")
        with pytest.raises(DataError, match=f"synthetic and lies in the {split} split"):
            make_tables(dataclasses.replace(manifest, rows=tuple(rows)), pack, TASK, processor)


def test_tables_to_judge_by_hold_each_content_once(write, check):
    copies = {"a/copy1.bin": "twice", "a/copy2.bin": "twice", "a/torn.bin": "torn", "b/torn.bin": "torn"}
    manifest = check(write({**files_of(40), **copies}))
    rows = tuple(
        dataclasses.replace(row, split="test" if row.id in copies else "train", group="") for row in manifest.rows
    )
    manifest = dataclasses.replace(manifest, rows=rows)
    tables = make_tables(manifest, build(manifest), TASK, byte_task.ByteProcessor(manifest.labels))
    assert [row.id for row in tables["test"].rows] == ["a/copy1.bin"]
    assert len(tables["train"]) == 40
    assert tables["test"].slice(np.array([0])).fields["dense"][0].tolist()[:5] == list(b"twice")
    torn = dataclasses.replace(manifest, rows=tuple(row for row in rows if "copy" not in row.id))
    assert set(make_tables(torn, build(torn), TASK, byte_task.ByteProcessor(manifest.labels))) == {"train"}


def test_tables_slice_and_subset(write, check):
    manifest = check(write(files_of(40)))
    place = manifest.positions("train")[2]
    rows = list(manifest.rows)
    rows[place] = dataclasses.replace(rows[place], origin="synthetic", weight=0.5)
    manifest = dataclasses.replace(manifest, rows=tuple(rows))
    tables = make_tables(manifest, build(manifest), TASK, byte_task.ByteProcessor(manifest.labels))
    assert {name: len(table) for name, table in tables.items()} == {"train": 26, "validation": 6, "test": 8}
    train = tables["train"]
    index = np.array([2, 0, 25, 2])
    part = train.slice(index)
    assert len(part) == 4
    assert part.index.tolist() == index.tolist()
    assert part.weight.tolist() == [0.5, 1.0, 1.0, 0.5]
    assert train.ids(index) == [train.rows[number].id for number in index]
    for number, row in enumerate(index):
        content = train.source(row).read(1000)
        assert part.fields["dense"][number].tolist() == np.resize(np.frombuffer(content, np.uint8), 8).tolist()
        assert part.targets["labels"][number] == manifest.labels.index(train.rows[row].label)
    few = train.subset(torch.tensor([25, 2]))
    assert few.ids(np.array([1, 0])) == train.ids(np.array([2, 25]))
    assert few.slice(np.array([0])).fields["dense"].tolist() == part.fields["dense"][2:3].tolist()
    assert few.weight.tolist() == [1.0, 0.5]


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_done(write, check, tmp_path, monkeypatch):
    manifest = check(write({f"{'ab'[number % 2]}/{number:03d}.bin": os.urandom(30_000) for number in range(60)}))
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be made here")
    monkeypatch.setenv("OUVROIR_HOME", str(small))
    try:
        with pytest.raises(DiskFull, match=r"needs .* and only .* is free"):
            build(manifest)
        monkeypatch.setattr(packs, "require_space", lambda *arguments: None)
        with pytest.raises(DiskFull, match="is full"):
            build(manifest)
        assert [path.name for path in small.rglob("*") if path.is_file()] == [".lock"]
        monkeypatch.setattr(packs, "SHARD_BYTES", 10**6)
        with pytest.raises(DiskFull):
            build(manifest)
        assert len(list(small.rglob("shard_*"))) == 1
        with pytest.raises(DiskFull):
            write_arrays(small / "x.safetensors", {"x": np.zeros(10**7, dtype=np.uint8)})
        assert not list(small.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


SCRIPT = """
import sys, byte_task
from ouvroir.data import pack
from ouvroir.data.manifest import Manifest
pack.SHARD_BYTES = 20_000
manifest = Manifest.load(sys.argv[1])
print("ready", flush=True)
pack.build_pack(manifest, byte_task.ByteProcessor(manifest.labels), workers=1)
"""


def start(manifest):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, manifest.fingerprint],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_killed_in_the_middle_and_gone_on(write, check, home):
    manifest = check(write({f"{'ab'[number % 2]}/{number:04d}.bin": b"%d" % number * 100 for number in range(1500)}))
    manifest.save()
    with start(manifest) as process:
        process.stdout.readline()
        while len(shards(home)) < 3:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in shards(home)}
    assert 0 < plan_pack(manifest, byte_task.ByteProcessor()).n_new < 1500
    pack = build(manifest)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_right(pack, manifest, list(range(0, 1500, 37)))
    assert not list(home.glob("packs/*/.shard*"))


def test_two_processes_encode_nothing_twice(write, check, home):
    manifest = check(write({f"{'ab'[number % 2]}/{number:04d}.bin": b"%d" % number for number in range(300)}))
    manifest.save()
    with start(manifest) as first, start(manifest) as second:
        assert first.wait() == second.wait() == 0
    assert sum(len(load_file(path)["keys"]) for path in shards(home)) == 300


def test_arrays_of_every_kind_are_read_back(tmp_path):
    arrays = {
        "empty": np.zeros((0, 3), dtype=np.float32),
        "odd": np.arange(5, dtype=np.uint8),
        "wide": np.arange(12, dtype=np.int64).reshape(3, 4),
        "flags": np.array([True, False, True]),
        "half": np.array([1.5], dtype=np.float16),
    }
    path = tmp_path / "x.safetensors"
    write_arrays(path, arrays)
    for read in (map_arrays(path), load_file(path)):
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            assert np.array_equal(read[name], array)
    mapped = map_arrays(path)
    mapped["wide"][0, 0] = 99
    assert map_arrays(path)["wide"][0, 0] == 0
    for damage in (b"", path.read_bytes()[:-1], b"\x05" + path.read_bytes()[1:]):
        (tmp_path / "bad.safetensors").write_bytes(damage)
        with pytest.raises(ManifestError, match="damaged"):
            map_arrays(tmp_path / "bad.safetensors")


def test_a_processor_that_does_not_keep_to_its_fields_is_our_mistake():
    from ouvroir.data.shards import check_array

    with pytest.raises(AssertionError, match="float64"):
        check_array("x", Field("uint8", (2,)), np.zeros(2))
    with pytest.raises(AssertionError, match="shape"):
        check_array("x", Field("uint8", (2,)), np.zeros(3, dtype=np.uint8))
    check_array("x", Field("uint8", (None, 2)), np.zeros((7, 2), dtype=np.uint8))


def test_home_is_a_folder_of_its_own(home):
    assert Path(os.environ["OUVROIR_HOME"]) == home
