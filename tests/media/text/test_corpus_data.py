"""How a corpus is read: what is held out, files that are cut into blocks, in any encoding, and what is told of them."""

import json
import random
import re
import zipfile
from collections import Counter

import numpy as np
import pytest

import ouvroir
from ouvroir.data import large_tables
from ouvroir.data.findings import given_settings
from ouvroir.data.marks import FINE, MARKS, Places, is_among, share_among, written
from ouvroir.data.relations import find_retold
from ouvroir.errors import DataError, RecipeError, Refused
from ouvroir.evaluation.french import in_french
from ouvroir.media.text.french import FRENCH as FRENCH_OF_TEXTS
from ouvroir.media.text.passages import marks
from ouvroir.media.text.reading import text_of
from ouvroir.records import conversation
from ouvroir.source import Source, block_of
from ouvroir.task import Limits, Row
from pictures import call

WORDS = "sea road lamp bird rain bread stone river light window garden letter morning summer quiet narrow old".split()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))


def prose(seed, n, *, word="no"):
    """Lines of some words; none comes twice."""
    rng = random.Random(seed)
    return "".join(f"{' '.join(rng.choices(WORDS, k=12))}, {word} {seed} {number}.\n" for number in range(n))


# --- what is held out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "validation", "test"),
    [
        ({}, 0.1, 0.1),
        ({"data.test": 0.2}, 0.1, 0.2),
        ({"data.test": 0.3}, 0.1, 0.3),
        ({"data.validation": 0.15}, 0.15, 0.1),
        ({"data.validation": 0, "data.test": None}, 0, 0.1),
    ],
)
def test_each_share_of_a_corpus_is_what_was_asked_or_a_tenth(tmp_path, given, validation, test):
    (tmp_path / "one.txt").write_text(prose(0, 2000))
    manifest = ouvroir.check(tmp_path / "one.txt", settings=given)
    assert (manifest.data.validation, manifest.data.test) == (validation, test)
    assert abs(len(manifest.positions("test")) / len(manifest.rows) - test) < 0.05
    told = given_settings(manifest)
    assert {name: float(value) for name, value in told.items()} == {
        name: value for name, value in given.items() if value is not None
    }
    again = ouvroir.check(tmp_path / "one.txt", settings=told)
    assert again.fingerprint == manifest.fingerprint


def test_texts_with_classes_keep_the_usual_shares(tmp_path):
    for name in "ab":
        (tmp_path / "classes" / name).mkdir(parents=True)
        for number in range(30):
            (tmp_path / "classes" / name / f"{number}.txt").write_text(prose(f"{name}{number}", 3))
    manifest = ouvroir.check(tmp_path / "classes", task="text-generation", settings={"data.test": 0.1})
    assert (manifest.data.validation, manifest.data.test) == (0.15, 0.1)
    assert given_settings(manifest) == {"data.test": "0.1"}
    with pytest.raises(RecipeError, match="leave nothing to learn from"):
        ouvroir.check(tmp_path / "classes", settings={"data.test": 0.9})


@pytest.mark.parametrize(("seed", "n_short"), [(0, 1), (1, 1), (2, 1), (3, 1), (0, 20)])
def test_each_file_of_a_few_has_its_share_of_each_split(tmp_path, seed, n_short):
    """And so it is with many short ones beside."""
    (tmp_path / "books").mkdir()
    for number, n in enumerate([3000, 2000, 2000, 2000, 1500, 1500]):
        (tmp_path / "books" / f"{number}.txt").write_text(prose(number, n))
    for number in range(n_short):
        (tmp_path / "books" / f"short{number}.txt").write_text(prose(9 + number, 30))
    manifest = ouvroir.check(tmp_path / "books", settings={"data.seed": seed})
    assert 0.05 < len(manifest.positions("test")) / len(manifest.rows) < 0.15
    for number in range(6):
        splits = Counter(row.split for row in manifest.rows if row.id.startswith(f"{number}.txt"))
        assert 0.04 < splits["validation"] / splits.total() < 0.2
        assert 0.04 < splits["test"] / splits.total() < 0.2


def test_what_is_held_out_is_not_learned_from_in_another_edition(tmp_path):
    for name, content in {
        "train/one.txt": prose(7, 12) + prose(0, 600) + prose(1, 900),
        "test/two.txt": prose(0, 600),
    }.items():
        (tmp_path / "books" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "books" / name).write_text(content)
    manifest = ouvroir.check(tmp_path / "books", settings={"data.validation": 0})
    n_train, n_test = len(manifest.positions("train")), len(manifest.positions("test"))
    leaks = [refusal for refusal in manifest.refused if refusal.code == "leak"]
    assert abs(len(leaks) - n_test) <= 2
    assert 0.5 < n_train / (n_train + len(leaks)) < 0.7
    assert "stands in the test split too" in leaks[0].reason
    told = next(note.text for note in manifest.notes if note.code == "leak")
    assert "(`train/one.txt`), as in two editions of one book" in told, "named once"
    assert in_french(told)
    assert in_french(leaks[0].reason)
    kept = "\n".join(text_of(row.source(manifest.root), Limits())[0] for row in manifest.rows if row.split == "train")
    assert kept.count(", no 1 ") == 900, "nothing else is left out"


def turns_of(number, n):
    """What is said in a conversation, each turn another."""
    return prose(number, n).splitlines()


def write_turns(path, turns):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps({"text": turn}) for turn in turns), encoding="utf-8")


def test_turns_of_a_conversation_that_is_held_out_are_not_learned_from(tmp_path):
    known, others = turns_of(0, 60), turns_of(1, 100)
    write_turns(tmp_path / "chat" / "train" / "turns.jsonl", [*known, *others, "Yes, I do."])
    talk = "\n".join(f"{'ab'[n % 2]}: {turn}" for n, turn in enumerate([*known, *turns_of(2, 900), "Yes, I do."]))
    (tmp_path / "chat" / "test").mkdir()
    (tmp_path / "chat" / "test" / "talk.txt").write_bytes(talk.encode("utf-16"))
    manifest = ouvroir.check(tmp_path / "chat", settings={"data.validation": 0})
    leaks = [refusal for refusal in manifest.refused if refusal.code == "leak"]
    assert len(leaks) == len(known)
    assert {row.text for row in manifest.rows if row.split == "train"} == {*others, "Yes, I do."}
    assert leaks[0].reason == (
        "`train/turns.jsonl#1` stands word for word in `test/talk.txt` of the test split, so it is left out."
    )
    (told,) = [note.text for note in manifest.notes if note.code == "leak"]
    assert told.startswith(
        f"Rows of the train split that stand word for word in a more held-out text: {len(known)} (`train/turns.jsonl#1`,"
    )
    assert in_french(told)
    assert in_french(leaks[0].reason)
    assert ouvroir.check(tmp_path / "chat", settings={"data.validation": 0}).refused == manifest.refused


def test_rows_of_validation_that_stand_in_the_test_are_left_out_too(tmp_path):
    known, in_validation, in_train = turns_of(0, 20), turns_of(1, 100), turns_of(2, 100)
    write_turns(tmp_path / "chat" / "train" / "turns.jsonl", in_train)
    write_turns(tmp_path / "chat" / "validation" / "turns.jsonl", [*known, *in_validation])
    (tmp_path / "chat" / "test").mkdir()
    (tmp_path / "chat" / "test" / "talk.txt").write_text("\n".join([*known, *turns_of(3, 900)]), encoding="utf-8")
    manifest = ouvroir.check(tmp_path / "chat")
    assert [refusal.code for refusal in manifest.refused] == ["leak"] * len(known)
    texts = {split: {row.text for row in manifest.rows if row.split == split} for split in ("train", "validation")}
    assert texts == {"train": set(in_train), "validation": set(in_validation)}
    (told,) = [note.text for note in manifest.notes if note.code == "leak"]
    assert told.startswith(
        f"Rows of the validation split that stand word for word in a more held-out text: {len(known)} ("
    )
    assert in_french(told)


def test_turns_that_are_most_of_what_is_learned_from_stay_and_it_is_said(tmp_path):
    write_turns(tmp_path / "chat" / "train" / "turns.jsonl", turns_of(0, 60))
    write_turns(
        tmp_path / "chat" / "test" / "whole.jsonl", [" ".join(turns_of(0, 40)), "A new one, in which all is new."]
    )
    manifest = ouvroir.check(tmp_path / "chat", settings={"data.validation": 0})
    assert not manifest.refused
    (told,) = [note.text for note in manifest.notes if note.code == "repeats_itself"]
    assert "stand word for word" in told
    assert in_french(told)


def test_rows_of_a_table_beside_the_whole_are_on_one_side(tmp_path):
    turns = [turn for number in range(8) for turn in turns_of(number, 300)]
    write_turns(tmp_path / "chat" / "turns.jsonl", turns[:900])
    (tmp_path / "chat" / "talk.txt").write_text("\n".join(turns), encoding="utf-8")
    manifest = ouvroir.check(tmp_path / "chat")
    held_out = [text_of(row.source(manifest.root), Limits())[0] for row in manifest.rows if row.split != "train"]
    learned = [row.text for row in manifest.rows if row.split == "train" and row.text is not None]
    assert len(learned) > 300
    assert not [turn for turn in learned if any(turn in text for text in held_out)]


def test_a_second_edition_is_not_judged_by_either(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(prose(0, 1500))
    (tmp_path / "books" / "two.txt").write_text(prose(7, 12) + prose(0, 1500))
    checked = ouvroir.check(tmp_path / "books")
    leaks = [refusal for refusal in checked.refused if refusal.code == "leak"]
    held_out = [row for row in checked.rows if row.split != "train"]
    assert abs(len(leaks) - len(held_out)) <= 4, "what is held out of one edition is not learned from in the other"
    run = ouvroir.train(tmp_path / "books", preset="tiny", settings=QUICK, runs=tmp_path / "runs")
    found = ouvroir.evaluate(run.path, tmp_path / "books")
    assert len(found.ids) == sum(row.split == "test" for row in checked.rows)
    assert 0 < found.left_out["repeats other rows"] <= len(leaks)


@pytest.mark.parametrize("n_lines", [600, 1500, 6000])
def test_of_a_version_with_a_phrase_added_here_and_there_hardly_anything_leaks(tmp_path, n_lines):
    """Blocks are 2 to 16 kB; borders of the one version lie within blocks of the other."""
    lines = prose(3, n_lines).splitlines()
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "one.txt").write_text("\n".join(lines))
    added = [f"{line} Added later." if number % 12 == 0 else line for number, line in enumerate(lines)]
    (tmp_path / "versions" / "two.txt").write_text("\n".join(added))
    manifest = ouvroir.check(tmp_path / "versions")
    text = {row.id: text_of(row.source(manifest.root), Limits())[0] for row in manifest.rows}
    learned = {line for row in manifest.rows if row.split == "train" for line in text[row.id].splitlines()}
    held_out = [text[row.id].splitlines() for row in manifest.rows if row.split != "train"]
    known = [sum(line in learned for line in lines) / len(lines) for lines in held_out]
    assert len(held_out) >= 8
    assert max(known) < 0.65, "some lines have no phrase that was added"
    assert sum(known) / len(known) < 0.1
    reasons = [one.reason for one in manifest.refused] + [note.text for note in manifest.notes if note.code == "leak"]
    assert all(map(in_french, reasons))


def test_short_blocks_are_told_finely_and_compared_with_what_is_told_coarsely():
    text = prose(5, 400)
    fine, coarse = marks(text, is_fine=True), marks(text)
    assert len(fine) > 8 * len(coarse) > 0
    assert set(coarse) == {mark for mark in fine if mark < FINE}
    row = Row("a@0+9", "a@0+9", "", None, "", "", "train", "real", 1.0, {MARKS: written(fine)}, {})
    assert is_among(row, coarse)
    assert is_among(row, fine)
    assert share_among(row, marks(prose(6, 400), is_fine=True)) < 0.1


def marked_row(name, split, numbers):
    details = {MARKS: written(np.array(sorted(numbers), np.uint32))}
    return Row(f"{name}@0+9", f"{name}@0+9", "", None, "", "", split, "real", 1.0, details, {})


@pytest.mark.parametrize(("n_others", "is_left_out"), [(10, True), (1, False)])
def test_blocks_that_hold_a_held_out_one_between_them_are_left_out_unless_they_are_most(n_others, is_left_out):
    """The border of one version lies in the middle of a block of the other."""
    rows = [
        marked_row("held", "test", range(100)),
        marked_row("before", "train", [*range(40), *range(200, 260)]),
        marked_row("after", "train", [*range(60, 100), *range(300, 360)]),
        *(marked_row(f"other{n}", "train", range(1000 * n + 1000, 1000 * n + 1100)) for n in range(n_others)),
    ]
    refused, notes = find_retold(rows)
    assert {one.id for one in refused} == ({"before@0+9", "after@0+9"} if is_left_out else set())
    (note,) = notes
    assert note.code == ("leak" if is_left_out else "repeats_itself")
    assert all(map(in_french, [note.text, *(one.reason for one in refused)]))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_most_of_a_block_is_more_than_half_of_it(tmp_path, share):
    """What is in common with all that is more held out counts together, and not what is in common with the block's own split."""
    rows = [
        Row(f"{split}.txt@0+9", f"{split}.txt@0+9", "", None, "", "", split, "real", 1.0, {MARKS: written(marks)}, {})
        for split, marks in {
            "train": np.arange(100, dtype=np.uint32),
            "validation": np.arange(int(50 * share), dtype=np.uint32),
            "test": np.arange(50, 50 + int(50 * share), dtype=np.uint32),
        }.items()
    ]
    assert Places(rows).held_out_of(rows[0]) == (None if share < 0.5 else "test")
    assert Places(rows).held_out_of(rows[2]) is None


def test_a_file_that_repeats_itself_stays(tmp_path):
    (tmp_path / "one.txt").write_text(prose(0, 150) * 20)
    manifest = ouvroir.check(tmp_path / "one.txt")
    assert not [refusal for refusal in manifest.refused if "stands in" in refusal.reason]
    told = next(note.text for note in manifest.notes if note.code == "repeats_itself")
    assert "figures flatter" in told
    assert in_french(told)


# --- files beside tables ----------------------------------------------------------------------------------------------


def test_tables_and_files_of_a_corpus_belong_together(tmp_path):
    place = tmp_path / "corpus"
    (place / "notes").mkdir(parents=True)
    chat = "".join(f'{{"text": "{" ".join(WORDS)} {number}"}}\n' for number in range(30))
    (place / "chat.jsonl").write_text(chat)
    (place / "more.csv").write_text(
        "body,when\n" + "".join(f"{' '.join(WORDS[::-1])} {n},2026-01-0{n % 9 + 1}\n" for n in range(20))
    )
    (place / "authors.csv").write_text("born,died\n1828,1905\n1867,1916\n")
    (place / "book.txt").write_text(prose(0, 20))
    (place / "notes" / "one.md").write_text(prose(1, 5))
    (place / "empty.txt").write_text("")
    (place / "picture.png").write_bytes(b"no picture")
    (place / "a.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(1, 32)) * 9)
    manifest = ouvroir.check(place)
    assert manifest.task == "text-generation"
    files = Counter(row.id.partition("#")[0].partition("@")[0] for row in manifest.rows)
    assert (files["chat.jsonl"], files["more.csv"]) == (30, 20)
    assert {"book.txt", "notes/one.md"} <= files.keys()
    codes = {refusal.id: refusal.code for refusal in manifest.refused}
    assert codes == {
        "a.txt": "not_text",
        "empty.txt": "empty",
        "picture.png": "not_readable_here",
        "authors.csv": "not_readable_here",
    }
    reasons = {refusal.id: refusal.reason for refusal in manifest.refused}
    assert reasons["authors.csv"] == "`authors.csv` is a table without a column of texts, so it is not read."
    told = next(note.text for note in manifest.notes if note.code == "files_beside_tables")
    assert told == (
        "Files beside the tables that are taken for texts too: 2, such as `book.txt`, `notes/one.md`. Move away what is "
        "no text to learn from."
    )
    assert (in_french(told) or "").startswith(
        "Fichiers à côté des tableaux, pris eux aussi pour des textes\u202f: 2, dont `book.txt`"
    )
    assert not manifest.labels


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": "Is it far to the sea?"}, {"role": "assistant", "content": "Two hours by train."}],
        [{"from": "user", "value": "Is it far to the sea?"}, {"from": "assistant", "value": "Two hours by train."}],
        [
            {"role": "user", "content": [{"type": "text", "text": "Is it far to the sea?"}, {"type": "image"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Two hours by train."}]},
        ],
        [
            {"role": "user", "content": "Is it far to the sea?"},
            {"role": "assistant", "content": None, "tool": "a map"},
            {"role": "assistant", "content": "Two hours by train."},
        ],
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_chat_logs_are_a_corpus_of_conversations(tmp_path, turns, suffix):
    rows = [{"id": f"c{n}", "messages": json.loads(json.dumps(turns).replace("sea", f"sea {n}"))} for n in range(20)]
    path = tmp_path / "chat" / f"log.{suffix}"
    path.parent.mkdir()
    if suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    manifest = ouvroir.check(tmp_path / "chat")
    assert manifest.task == "text-generation"
    assert len(manifest.rows) == 20
    told = {text_of(row.source(manifest.root), Limits())[0] for row in manifest.rows}
    assert told == {f"user: Is it far to the sea {n}?\nassistant: Two hours by train." for n in range(20)}


@pytest.mark.parametrize(
    "cell",
    [
        ["a", "b"],
        [{"name": "user"}],
        [{"role": "hero", "name": "Ann"}],
        [{"content": "x"}, 3],
        "text",
        None,
        {"content": "x"},
    ],
)
def test_other_cells_are_no_conversation(cell):
    assert conversation(cell) is None


@pytest.mark.parametrize(
    "empty", [[], [{"role": "user"}], [{"role": "assistant", "tool_calls": []}], [{"role": "user", "content": None}]]
)
def test_a_conversation_in_which_nothing_is_said_is_empty(tmp_path, empty):
    rows = [*([{"role": "user", "content": f"{' '.join(WORDS)} {n}"}] for n in range(5)), empty]
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps({"messages": turns}) for turns in rows))
    manifest = ouvroir.check(tmp_path / "log.jsonl", task="text-generation")
    assert len(manifest.rows) == 5
    assert [refusal.code for refusal in manifest.refused] == ["empty"]
    told = [note for note in manifest.notes if note.code == "turns_left_out"]
    assert len(told) == bool(empty)
    assert all("1 of 6" in note.text for note in told)


@pytest.mark.parametrize("others", [["README.md"], ["notes/more.md"], []])
@pytest.mark.parametrize("train", ["train.jsonl", "train.txt"])
def test_a_file_that_is_called_a_test_is_one(tmp_path, train, others):
    rows = "".join(f'{{"text": "{" ".join(WORDS)} {number}"}}\n' for number in range(60))
    for name in [train, "test.txt", *others]:
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_text(rows if name == "train.jsonl" else prose(name, 60))
    manifest = ouvroir.check(tmp_path / "corpus")
    files = {row.id.partition("@")[0].partition("#")[0]: set() for row in manifest.rows}
    for row in manifest.rows:
        files[row.id.partition("@")[0].partition("#")[0]].add(row.split)
    assert files.pop("test.txt") == {"test"}
    assert not any("test" in splits for splits in files.values())
    said = [note for note in manifest.notes if note.code == "splits_by_name"]
    assert len(said) == bool(others or train == "train.jsonl") or train == "train.jsonl"
    assert all(in_french(note.text) for note in said)


@pytest.mark.parametrize("beside", [["README.md"], ["notes/a.md", "notes/deep/b.md", "notes/deeper/c.md"]])
@pytest.mark.parametrize("tables", [(), ("train/a.jsonl", "test/b.jsonl")])
@pytest.mark.parametrize("above", ["", "books/"])
def test_what_lies_beside_folders_of_splits_does_not_undo_them(tmp_path, beside, tables, above):
    texts = [f"{split}/{number}.txt" for split in ("train", "validation", "test") for number in range(2)]
    for name in [*texts, *beside, *tables]:
        path = tmp_path / "data" / above / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(json.dumps({"text": f"{name} {line}"}) + "\n" for line in prose(name, 6).splitlines())
        path.write_text(rows if name in tables else prose(name, 60))
    manifest = ouvroir.check(tmp_path / "data")
    assert manifest.task == "text-generation"
    assert all(f"{above}{row.split}/" in row.id for row in manifest.rows)
    assert {row.split for row in manifest.rows} == {"train", "validation", "test"}
    assert {one.id for one in manifest.refused if one.code == "no_split"} == {f"{above}{name}" for name in beside}
    said = [note for note in manifest.notes if note.code == "splits_by_folder"]
    assert all(sum(f"`{above}{split}`" in note.text for note in said) == 1 for split in ("train", "validation", "test"))
    assert all(in_french(note.text) for note in said)


@pytest.mark.parametrize("named", [("train/a", "test/b"), ("test/b", "test/c"), ("train/a", "more/f")])
def test_files_that_a_table_names_and_those_beside_keep_to_the_same_folders(tmp_path, named):
    names = ["train/a", "train/e", "test/b", "test/c", "test/d", "more/f"]
    for number, name in enumerate(name for name in names if name != "more/f" or name in named):
        path = tmp_path / "data" / "books" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(number, 60))
    (tmp_path / "data" / "list.csv").write_text("\n".join(["file", *(f"books/{name}.txt" for name in named)]) + "\n")
    write_turns(tmp_path / "data" / "talk.jsonl", turns_of(9, 60))
    manifest = ouvroir.check(tmp_path / "data", task="text-generation", settings={"data.validation": 0})
    read = {row.id.split("@")[0]: row.split for row in manifest.rows if row.id.endswith(".txt") or "@" in row.id}
    assert {split for name, split in read.items() if name.startswith("books/test/")} == {"test"}
    assert {split for name, split in read.items() if not name.startswith("books/test/")} == {"train"}


def test_shards_that_are_large_together_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(large_tables, "LARGE_TABLE_BYTES", 200_000)
    (tmp_path / "shards").mkdir()
    for number in range(4):
        texts = prose(number, 1200).splitlines()
        (tmp_path / "shards" / f"{number}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts)
        )
    manifest = ouvroir.check(tmp_path / "shards")
    assert all("@" in row.id and row.text is None for row in manifest.rows), "no row holds its text"
    assert 40 < len(manifest.rows) < 400
    text = "\n".join(text_of(row.source(manifest.root), Limits())[0] for row in manifest.rows)
    assert sorted(text.split("\n")) == sorted("\n".join(prose(n, 1200).rstrip() for n in range(4)).split("\n"))


def lines_of(number, n=60):
    return [f"{' '.join(random.Random(1000 * number + line).sample(WORDS, 8))}, {number} {line}" for line in range(n)]


def test_a_table_that_lies_deeper_is_a_part_of_the_corpus_too(tmp_path):
    (tmp_path / "corpus" / "more").mkdir(parents=True)
    table(tmp_path / "corpus" / "a.jsonl", lines_of(0))
    (tmp_path / "corpus" / "more" / "b.csv").write_text("label,text\n" + "".join(f'x,"{one}"\n' for one in lines_of(1)))
    (tmp_path / "corpus" / "more" / "c.csv").write_text("born,died\n1828,1905\n")
    manifest = ouvroir.check(tmp_path / "corpus")
    assert {row.text for row in manifest.rows} == {*lines_of(0), *lines_of(1)}
    assert not manifest.labels
    (refusal,) = manifest.refused
    assert refusal.id == "more/c.csv"


def table(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def test_tables_in_folders_that_are_called_splits_are_these(tmp_path):
    for number, name in enumerate(("train", "valid", "test")):
        (tmp_path / "corpus" / name).mkdir(parents=True)
        table(tmp_path / "corpus" / name / "data.jsonl", lines_of(number))
    splits = {row.id.partition("/")[0]: set() for row in ouvroir.check(tmp_path / "corpus").rows}
    for row in ouvroir.check(tmp_path / "corpus").rows:
        splits[row.id.partition("/")[0]].add(row.split)
    assert splits == {"train": {"train"}, "valid": {"validation"}, "test": {"test"}}


def test_one_folder_that_is_called_a_split_is_none(tmp_path):
    (tmp_path / "corpus" / "dev").mkdir(parents=True)
    table(tmp_path / "corpus" / "dev" / "data.jsonl", lines_of(0))
    assert {row.split for row in ouvroir.check(tmp_path / "corpus").rows} == {"train", "validation", "test"}


def test_what_cannot_be_read_is_counted_once(tmp_path):
    (tmp_path / "one.txt").write_bytes(bytes(range(128, 256)) * 60 + b"\x81\x8d\x8f" * 900)
    manifest = ouvroir.check(tmp_path, task="text-generation")
    told = next(note.text for note in manifest.notes if note.code == "nothing_admitted")
    assert f"({len(manifest.refused)} in all)" in told


def test_folders_beside_a_table_of_a_corpus_are_no_classes(tmp_path):
    for name in "ab":
        (tmp_path / "corpus" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "corpus" / name / f"{number}.txt").write_text(prose(f"{name}{number}", 8))
    (tmp_path / "corpus" / "t.csv").write_text("text\n" + "".join(f"{' '.join(WORDS)} {n}\n" for n in range(20)))
    manifest = ouvroir.check(tmp_path / "corpus", task="text-generation")
    assert len(manifest.rows) == 26
    assert not manifest.labels
    told = next(note.text for note in manifest.notes if note.code == "files_beside_tables")
    assert "Folders are not taken as classes, though 6 of them lie in some" in told
    assert in_french(told)


# --- too little text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["a" * 1, "é" * 400])
def test_a_corpus_that_cannot_be_learned_from_is_told_by_check_as_by_training(tmp_path, content):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(content)
    manifest = ouvroir.check(tmp_path / "books")
    told = next(note.text for note in manifest.notes if note.code == "short_corpus")
    assert "at least 500 are needed" in told
    assert in_french(told, FRENCH_OF_TEXTS)
    with pytest.raises(DataError, match=re.escape(told)):
        ouvroir.train(tmp_path / "books", runs=tmp_path / "runs")
    shown = call("check", str(tmp_path / "books")).output
    assert shown.count("at least 500 are needed") == 1
    assert "ouvroir refine" not in shown


def test_a_corpus_of_one_block_is_said_to_leave_nothing_to_measure(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(prose(0, 20))
    told = next(note.text for note in ouvroir.check(tmp_path / "books").notes if note.code == "nothing_held_out")
    assert "nothing is held out" in told
    assert in_french(told, FRENCH_OF_TEXTS)
    (tmp_path / "books" / "two.txt").write_text(prose(1, 2000))
    assert "nothing_held_out" not in {note.code for note in ouvroir.check(tmp_path / "books").notes}


# --- what was learned from, under other borders -----------------------------------------------------------------------

QUICK = {"loop.threads": 1, "loop.batch_size": 8, "loop.steps": 3, "loop.precision": "fp32", "options.context": 32}


@pytest.fixture
def trained(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(prose(0, 4000))
    run = ouvroir.train(tmp_path / "books", preset="tiny", settings=QUICK, runs=tmp_path / "runs")
    return run, tmp_path


@pytest.mark.parametrize("model", ["run", pytest.param("final_model", marks=pytest.mark.slow)])
def test_a_corpus_that_has_grown_is_not_judged_on_what_was_learned(trained, model):
    run, place = trained
    before = {row.id: row for row in ouvroir.check(place / "books").rows}
    n_test = sum(row.split == "test" for row in before.values())
    (place / "more").mkdir()
    (place / "more" / "one.txt").write_text("One line at the front.\n" + prose(0, 4000) + prose(1, 3000))
    asked = run.path if model == "run" else run.bundle
    found = ouvroir.evaluate(asked, place / "more")
    assert not found.learned
    n_learned, n_rows = found.left_out["learned from"], len(found.ids) + found.left_out["learned from"]
    assert abs(n_learned / n_rows - 0.9 * 4 / 7) < 0.06, "what is new and what was the test is judged"
    assert len(found.ids) > n_test / 2
    learned = ouvroir.evaluate(asked, place / "more", split="train")
    assert len(learned.learned) / n_rows > 0.45
    (place / "most").mkdir()
    (place / "most" / "b.txt").write_text("\n\n" + prose(0, 3000))
    both = ouvroir.compare(asked, asked, place / "most")
    assert not both.of[0].learned
    assert both.of[0].left_out["learned from"] > 0.7 * n_rows * 3 / 7


def test_rows_keep_their_split_where_the_same_file_has_grown(trained):
    run, place = trained
    exact = ouvroir.evaluate(run.path, place / "books")
    assert set(exact.left_out) == {"another split"}
    (place / "books" / "one.txt").write_text("A line.\n" + prose(0, 4000) + prose(2, 400))
    found = ouvroir.evaluate(run.path, place / "books")
    assert not found.learned
    assert "gone since training" not in found.left_out
    assert 0 < found.left_out["added since training"] < 0.15 * found.left_out["another split"]
    assert abs(len(found.ids) - len(exact.ids)) <= 2
    change = found.judgement.metrics["nats_per_character"].value / exact.judgement.metrics["nats_per_character"].value
    assert abs(change - 1) < 0.03
    (place / "books" / "one.txt").write_text(prose(3, 4000))
    with pytest.raises(DataError, match="added since training"):
        ouvroir.evaluate(run.path, place / "books")


def test_other_texts_with_the_same_words_are_not_known(trained):
    run, place = trained
    (place / "other.txt").write_text(prose(9, 2000))
    assert ouvroir.evaluate(run.path, place / "other.txt").left_out == {}


# --- encodings --------------------------------------------------------------------------------------------------------

FRENCH = "Le café est fermé, dit-elle à Noël, où l’été s’achève"


def of(manifest, name):
    """The rows of one file in their order, and the notes and refusals that name it."""
    rows = [row for row in manifest.rows if row.id.split("@")[0] == name]
    told = [note.text for note in manifest.notes if name in note.text] + [
        one.reason for one in manifest.refused if name in one.reason
    ]
    return sorted(rows, key=lambda row: (block_of(row.locator)[1] or (0, 0))[0]), told


def wide_texts():
    """Texts with line ends, without any, with letters of four bytes, and with such as hold the byte of a line end."""
    some = random.Random(0)
    yield "A\n" + prose(0, 300)
    yield "".join(some.choices("Ā\u0a05" + "".join(map(chr, range(0x100, 0x180))) + "Ā\u0a05" * 99, k=9_000))
    yield "a" + "".join(some.choices([chr(0x1F300 + number) for number in range(256)], k=9_000))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("is_zipped", [False, True])
@pytest.mark.parametrize("text", list(wide_texts()), ids=["lines", "no lines", "pairs"])
def test_a_file_of_two_bytes_a_letter_is_cut_between_letters(tmp_path, encoding, is_zipped, text):
    folder = tmp_path / "wide"
    folder.mkdir()
    text = prose(2, 20) + text  # so that it is seen what it is where no mark says it
    if is_zipped:
        with zipfile.ZipFile(folder / "wide.zip", "w") as archive:
            archive.writestr("wide.txt", text.encode(encoding))
    else:
        (folder / "wide.txt").write_bytes(text.encode(encoding))
    manifest = ouvroir.check(folder)
    rows, _ = of(manifest, "wide.zip::wide.txt" if is_zipped else "wide.txt")
    texts = [text_of(row.source(folder), Limits())[0] for row in rows]
    assert "".join(texts) == text
    assert len(rows) > 9
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert [note.code for note in manifest.notes] == ["in_blocks", "odd_file"]
    assert not manifest.refused
    if "\n" in text[-100:]:
        assert all(one.endswith("\n") for one in texts[-5:])


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_a_large_file_of_four_bytes_a_letter_is_refused_with_what_helps(tmp_path, encoding):
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide" / "wide.txt").write_bytes(prose(0, 14_000).encode(encoding))
    (tmp_path / "wide" / "other.txt").write_text(prose(1, 300))
    rows, (*_, told) = of(ouvroir.check(tmp_path / "wide"), "wide.txt")
    assert not rows
    assert told.endswith("Save it as UTF-8: it is then cut into blocks by itself.")
    assert "au plus" in in_french(told, FRENCH_OF_TEXTS)
    (tmp_path / "wide" / "wide.txt").write_text(prose(0, 14_000))
    rows, told = of(ouvroir.check(tmp_path / "wide"), "wide.txt")
    assert len(rows) > 10
    assert not told
    with pytest.raises(Refused, match=r"Split it\.$"):
        text_of(Source("", "", text="a " * 600_000), Limits(), of_corpus=True)


def test_a_file_of_several_encodings_is_read_place_by_place_and_told_once(tmp_path):
    (tmp_path / "old").mkdir()
    parts = ["".join(f"{FRENCH} {part} {number}.\n" for number in range(300)) for part in range(2)]
    parts = [(parts[0], "cp1252"), (parts[1], "utf-8"), (prose(0, 300), "ascii")]
    (tmp_path / "old" / "mixed.txt").write_bytes(b"".join(part.encode(encoding) for part, encoding in parts))
    manifest = ouvroir.check(tmp_path / "old")
    rows, told = of(manifest, "mixed.txt")
    assert len(rows) > 20
    assert "".join(text_of(row.source(tmp_path / "old"), Limits())[0] for row in rows) == "".join(
        part for part, _ in parts
    )
    (encoding,) = [text for text in told if "UTF-8" in text]
    assert "Windows-1252" in encoding
    assert not any(re.search(r"@\d+\+\d+", note.text) for note in manifest.notes)


def test_no_block_is_named_by_its_bytes(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "binary.txt").write_bytes(random.Random(0).randbytes(30_000))
    (tmp_path / "odd" / "twice.txt").write_text(prose(0, 400) * 2)
    (tmp_path / "odd" / "again.txt").write_text(prose(0, 400))
    manifest = ouvroir.check(tmp_path / "odd", settings={"data.test": 0.2})
    assert {"duplicates", "near_duplicates"} & {note.code for note in manifest.notes}
    told = [note.text for note in manifest.notes] + [one.reason for one in manifest.refused]
    done = call("check", tmp_path / "odd")
    assert not re.search(r"@\d+\+\d+", "\n".join([*told, done.stdout, done.stderr]))
    assert done.stdout.count("binary.txt") == 1, "once for all of its blocks"
    assert [one.id for one in manifest.refused] == ["binary.txt"]


# --- columns beside texts that may be labels --------------------------------------------------------------------------


def chats(path, **more):
    rows = [
        {"id": n, "messages": [{"role": "user", "content": text}], **{name: give(n) for name, give in more.items()}}
        for n, text in enumerate(lines_of(7))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_stands_beside_conversations_is_no_label(tmp_path):
    for number in range(3):
        chats(tmp_path / f"chat{number}.jsonl", model=lambda n: f"m{n % 3}", lang=lambda n: f"l{n % 2}")
    manifest = ouvroir.check(tmp_path)
    assert (manifest.task, manifest.labels) == ("text-generation", ())
    assert not [note for note in manifest.notes if note.code == "labels_unused"]


@pytest.mark.parametrize("other", ["chat.jsonl", "novels/long.txt"])
def test_a_column_that_may_be_labels_is_left_where_other_texts_have_none(tmp_path, other):
    (tmp_path / "notes").mkdir()
    (tmp_path / "novels").mkdir()
    rows = [f'{n},"{text}",k{n % 3}' for n, text in enumerate(lines_of(3))]
    (tmp_path / "notes" / "t.csv").write_text("\n".join(["id,texte,humeur", *rows]))
    with pytest.raises(DataError, match=r"t\.csv. holds texts.* --task text-generation"):
        ouvroir.check(tmp_path)
    if other.endswith("txt"):
        (tmp_path / other).write_text(prose(0, 300))
    else:
        chats(tmp_path / "notes" / other)
    manifest = ouvroir.check(tmp_path)
    assert (manifest.task, manifest.labels) == ("text-generation", ())
    assert sum(row.id.startswith("notes/t.csv") for row in manifest.rows) == len(rows)
    (note,) = [note for note in manifest.notes if note.code == "labels_unused"]
    assert note.proposal == {"data.label_column": "humeur"}
    assert note.text.endswith("say so."), "what is proposed is led in where it is shown"
    assert in_french(note.text)


@pytest.mark.parametrize(("n_texts", "is_told"), [((1, 1), True), ((1, 1, 6), True), ((1, 5), False), ((6, 6), False)])
def test_where_most_folders_hold_one_text_a_corpus_is_proposed(tmp_path, n_texts, is_told):
    for number, n in enumerate(n_texts):
        (tmp_path / "authors" / f"author{number}").mkdir(parents=True)
        for text in range(n):
            (tmp_path / "authors" / f"author{number}" / f"{text}.txt").write_text(prose(10 * number + text, 600))
    manifest = ouvroir.check(tmp_path / "authors")
    notes = [note for note in manifest.notes if note.code == "classes_of_one"]
    assert len(notes) == is_told
    out = call("check", tmp_path / "authors", "--quiet").stdout
    assert ("ouvroir refine" in out) == any(row.split != "train" for row in manifest.rows)
    for note in notes:
        assert in_french(note.text)
        again = ouvroir.check(tmp_path / "authors", settings=note.proposal)
        assert again.task == "text-generation"
        assert {row.split for row in again.rows} == {"train", "validation", "test"}


def test_files_that_are_not_cut_are_not_counted_as_long(tmp_path):
    (tmp_path / "long.txt").write_text(prose(0, 300))
    (tmp_path / "short.txt").write_text("One line.\n")
    (tmp_path / "empty.txt").write_text("")
    manifest = ouvroir.check(tmp_path)
    (note,) = [note for note in manifest.notes if note.code == "in_blocks"]
    assert note.text.startswith("Long files are cut at the ends of lines. Files: 1; blocks: ")


def test_of_many_tables_some_are_told_and_what_is_odd_of_each(tmp_path):
    for number in range(25):
        rows = [f"{text}, à l’été" for text in lines_of(number, 3)]
        encoding = "cp1252" if number == 24 else "utf-8"
        (tmp_path / f"t{number:02}.csv").write_text(
            "\n".join(["text", *(f'"{row}"' for row in rows)]), encoding=encoding
        )
    notes = ouvroir.check(tmp_path).notes
    assert sum(note.code == "table_used" for note in notes) == 20
    (more,) = [note.text for note in notes if note.code == "tables_used"]
    assert more == "Tables that were read beside these: 5, such as `t20.csv`."
    assert in_french(more)
    assert [note.text for note in notes if note.code == "encoding" and "t24.csv" in note.text]
