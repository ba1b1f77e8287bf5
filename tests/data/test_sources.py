"""Folders, tables and zips: which files become rows, with which labels and splits, and why others do not."""

from __future__ import annotations

import json
import zipfile

import byte_task
import numpy as np
import pytest

import ouvroir
from ouvroir.data.admission import admit
from ouvroir.data.columns import find_columns, proposed_separator
from ouvroir.data.listing import MADE, MADE_MARK
from ouvroir.data.sources import read_source
from ouvroir.data.tabular import read_table
from ouvroir.errors import DataError, MissingExtra
from ouvroir.evaluation.french import in_french
from ouvroir.media import find_task
from ouvroir.recipe import Data
from ouvroir.records import mark_of


def labels(manifest):
    return {row.id: row.label for row in manifest.rows}


def codes(manifest):
    return {refusal.id: refusal.code for refusal in manifest.refused}


def note(manifest, code):
    return next(note for note in manifest.notes if note.code == code)


def has_note(manifest, code):
    return any(note.code == code for note in manifest.notes)


def test_class_is_the_folder(write, check):
    manifest = check(write({"cat/1.bin": "a", "cat/deep/er/2.bin": "b", "dog/1.bin": "c"}))
    assert labels(manifest) == {"cat/1.bin": "cat", "cat/deep/er/2.bin": "cat", "dog/1.bin": "dog"}


def test_folders_that_hold_everything_are_passed_through(write, check):
    manifest = check(write({"download/set/cat/1.bin": "a", "download/set/dog/1.bin": "c"}))
    assert set(labels(manifest).values()) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "val", "test"), ("TRAIN", "Valid", "testing"), ("training", "dev", "Test")],
)
def test_split_folders_in_any_spelling(write, check, train, validation, test):
    files = {
        f"{split}/{name}/{number}.bin": f"{split}{name}{number}"
        for split in (train, validation, test)
        for name in ("cat", "dog")
        for number in range(3)
    }
    manifest = check(write(files))
    assert set(labels(manifest).values()) == {"cat", "dog"}
    for folder, split in ((train, "train"), (validation, "validation"), (test, "test")):
        assert {row.split for row in manifest.rows if row.id.startswith(folder + "/")} == {split}


def test_split_folders_inside_class_folders(write, check):
    manifest = check(
        write({f"{name}/{split}/1.bin": f"{name}{split}" for name in ("cat", "dog") for split in ("train", "test")})
    )
    assert set(labels(manifest).values()) == {"cat", "dog"}
    assert all((row.split == "test") == ("/test/" in row.id) for row in manifest.rows)


def test_a_users_test_is_never_reshuffled_and_validation_is_carved_from_train(write, check):
    files = {f"train/{name}/{number}.bin": f"{name}{number}" for name in "ab" for number in range(20)}
    files |= {f"test/{name}/{number}.bin": f"t{name}{number}" for name in "ab" for number in range(5)}
    manifest = check(write(files))
    assert {row.id for row in manifest.rows if row.split == "test"} == {
        name for name in files if name.startswith("test/")
    }
    assert sum(row.split == "validation" for row in manifest.rows) == 6


def test_files_outside_of_class_and_split_folders_are_refused(write, check):
    manifest = check(write({"cat/1.bin": "a", "dog/1.bin": "b", "loose.bin": "c"}))
    assert codes(manifest) == {"loose.bin": "no_label"}
    manifest = check(write({"train/cat/1.bin": "d", "test/cat/1.bin": "e", "train/loose.bin": "g"}))
    assert codes(manifest)["train/loose.bin"] == "no_label"
    assert codes(manifest)["cat/1.bin"] == "no_split"


def test_a_file_beside_split_folders_within_another_folder_is_refused(write, check):
    files = {f"d/{split}/{name}/1.bin": split + name for split in ("train", "test") for name in ("cat", "dog")}
    manifest = check(write({**files, "d/cover.bin": "g"}))
    assert codes(manifest) == {"d/cover.bin": "no_split"}
    assert labels(manifest) == {name: name.split("/")[2] for name in files}
    assert all(f"/{row.split}/" in row.id for row in manifest.rows)


def test_folders_of_splits_are_no_classes(write, check):
    manifest = check(write({"train/1.bin": "a", "test/1.bin": "b", "other/1.bin": "c"}))
    assert codes(manifest) == {"train/1.bin": "no_label", "test/1.bin": "no_label", "other/1.bin": "no_split"}


def test_what_is_no_row_has_an_outcome_too(write, check, folder):
    write(
        {
            "cat/1.bin": "a",
            "cat/.hidden.bin": "b",
            ".git/x": "c",
            "cat/Thumbs.db": "d",
            "notes.txt": "e",
            "dog/1.bin": "f",
        }
    )
    (folder / "cat" / "broken.bin").symlink_to("nowhere.bin")
    (folder / "cat" / "linked.bin").symlink_to(folder / "dog" / "1.bin")
    (folder / "cat" / "loop").symlink_to(folder)
    (folder / "cat" / "a::b.bin").write_bytes(b"g")
    import os

    os.mkfifo(folder / "cat" / "pipe.bin")
    with open(os.fsencode(folder) + b"/cat/\xff.bin", "wb") as file:
        file.write(b"h")
    manifest = check(folder)
    assert codes(manifest) == {
        "cat/.hidden.bin": "hidden",
        ".git/x": "hidden",
        "cat/Thumbs.db": "hidden",
        "notes.txt": "not_readable_here",
        "cat/broken.bin": "missing",
        "cat/a::b.bin": "unusable_name",
        "cat/pipe.bin": "not_a_file",
        "cat/\\xff.bin": "unusable_name",
    }
    assert set(labels(manifest)) == {"cat/1.bin", "cat/linked.bin", "dog/1.bin"}
    assert has_note(manifest, "linked_twice")
    manifest.save()


def test_linked_folders_are_followed(write, check, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.bin").write_bytes(b"x")
    write({"dog/1.bin": "y"})
    (folder / "cat").symlink_to(elsewhere)
    assert labels(check(folder)) == {"cat/1.bin": "cat", "dog/1.bin": "dog"}


def test_table_beside_files(write, check):
    write({"files/1.bin": "a", "files/2.bin": "b", "files/3.bin": "c", "files/4.txt": "d"})
    table = "which,kind,taken by\nfiles/1.bin,cat,ann\nfiles/2.bin,dog,bob\nfiles/9.bin,dog,bob\nfiles/2.bin,dog,eve\n,cat,x\n"
    folder = write({"labels.csv": table})
    manifest = check(folder, label_column="kind")
    assert labels(manifest) == {"files/1.bin": "cat", "files/2.bin": "dog", "labels.csv#5": "dog"}
    assert codes(manifest) == {
        "labels.csv#4": "missing",
        "labels.csv#6": "no_path",
        "files/3.bin": "not_in_table",
        "files/4.txt": "not_readable_here",
    }
    assert manifest.rows[0].fields == {"taken by": "ann"}


def test_the_table_itself_may_be_given_and_then_other_files_are_no_concern(write, check):
    folder = write({"1.bin": "a", "2.bin": "b", "3.bin": "c", "t.csv": "file;label\n1.bin;cat\n2.bin;dog\n"})
    manifest = check(folder / "t.csv")
    assert labels(manifest) == {"1.bin": "cat", "2.bin": "dog"}
    assert not manifest.refused


def test_a_table_whose_paths_can_be_followed_needs_no_walk_through_its_folder(write, check, monkeypatch):
    from ouvroir.data import sources

    monkeypatch.setattr(sources, "list_folder", None)
    folder = write(
        {"f/1.bin": "a", "g/2.bin": "b", "c/t.csv": "file,label\n../f/1.bin,cat\n../g/2.bin,dog\n../f/9.bin,dog\n"}
    )
    manifest = check(folder / "c" / "t.csv")
    assert set(labels(manifest).values()) == {"cat", "dog"}
    assert codes(manifest) == {"t.csv#4": "missing"}
    assert [row.source(manifest.root).read(9) for row in manifest.rows] == [b"a", b"b"]


def test_paths_from_elsewhere_names_only_and_names_without_suffix(write, check, folder):
    write({"deep/down/1.bin": "a", "deep/down/2.bin": "b", "deep/3.bin": "c"})
    absolute = folder / "deep" / "3.bin"
    write({"t.csv": f"id,label\ndown/1.bin,x\n2,y\n{absolute},x\n"})
    assert labels(check(folder)) == {"deep/down/1.bin": "x", "deep/down/2.bin": "y", "deep/3.bin": "x"}


def test_an_ambiguous_name_is_refused_unless_the_split_tells(write, check, folder):
    write({"train/1.bin": "a", "test/1.bin": "b", "t.csv": "name,label,split\n1.bin,x,train\n1.bin,y,test\n1.bin,z,\n"})
    manifest = check(folder)
    assert labels(manifest) == {"train/1.bin": "x", "test/1.bin": "y"}
    assert codes(manifest) == {"t.csv#4": "ambiguous"}


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_a_table_without_names_of_columns_loses_no_row(write, check, suffix):
    folder = write({"1.bin": "a", "2.bin": "b", "t.csv": f"1{suffix};chat\n2{suffix};chat\n"})
    manifest = check(folder / "t.csv")
    assert labels(manifest) == {"1.bin": "chat", "2.bin": "chat"}
    assert "`column 1`, `column 2`" in note(manifest, "no_header").text


def test_a_usual_name_of_a_column_is_one_although_a_file_is_called_so_too(write, check):
    folder = write({"file.bin": "a", "2.bin": "b", "t.csv": "file,label\nfile.bin,x\n2.bin,y\n"})
    manifest = check(folder / "t.csv")
    assert labels(manifest) == {"file.bin": "x", "2.bin": "y"}
    assert "no_header" not in {one.code for one in manifest.notes}


@pytest.mark.parametrize("said", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_line_that_names_the_separator_is_no_line_of_names(write, check, said):
    folder = write({"1.bin": "a", "2.bin": "b", "t.csv": f"{said}\nfile;label\n1.bin;x, or y\n2.bin;z\nno.bin;z\n"})
    manifest = check(folder)
    assert labels(manifest) == {"1.bin": "x, or y", "2.bin": "z"}
    assert codes(manifest) == {"t.csv#5": "missing"}  # as an editor counts


def test_the_column_of_paths_is_not_that_of_the_labels(write, check):
    folder = write({"1.bin": "a", "2.bin": "b", "t.csv": "photo,label\n1.bin,x\n2.bin,y\n"})
    with pytest.raises(DataError, match=r"`photo` is the column of paths of `t\.csv`"):
        check(folder / "t.csv", label_column="photo")


def test_columns_for_split_group_and_a_proposal(write, check):
    files = {f"f/{number}.bin": f"{number}" for number in range(12)}
    rows = [
        f"f/{number}.bin,{'ab'[number % 2]},{['train', 'dev', 'test'][number % 3]},s{number % 4}"
        for number in range(12)
    ]
    folder = write({**files, "t.csv": "\n".join(["path,label,split,speaker", *rows])})
    manifest = check(folder)
    assert {row.id: row.split for row in manifest.rows}["f/1.bin"] == "validation"
    assert note(manifest, "group_proposed").proposal == {"data.group_column": "speaker"}
    assert {row.group for row in check(folder, group_column="speaker").rows} == {"s0", "s1", "s2", "s3"}


@pytest.mark.parametrize(
    "name",
    [
        "{split}/{number}.bin",
        "{label}/{split}/{number}.bin",
        "all/{split}/{label}/{number}.bin",
        "dev/{split}/{number}.bin",
        "test/{label}/{split}/{number}.bin",
    ],
)
def test_folders_of_splits_are_kept_to_where_the_table_says_none(write, check, name):
    rows = [
        (name.format(split=split, label="ab"[number % 2], number=f"{split}{number}"), "ab"[number % 2], split)
        for split in ("train", "val", "test")
        for number in range(4)
    ]
    table = "\n".join(["path,label", *(f"{path},{label}" for path, label, _ in rows)])
    manifest = check(write({**{path: path for path, _, _ in rows}, "labels.csv": table}))
    wanted = {path: "validation" if split == "val" else split for path, _, split in rows}
    assert {row.id: row.split for row in manifest.rows} == wanted
    said = [one.text for one in manifest.notes if one.code == "splits_by_folder"]
    assert said
    assert all(map(in_french, said))


def test_the_same_content_in_two_folders_of_splits_that_a_table_names_is_not_learned_from(write, check):
    files = {f"{split}/{number}.bin": f"{split}{number}" for split in ("train", "test") for number in range(6)}
    files["train/5.bin"] = "test5"
    rows = [f"{path},{'ab'[number % 2]}" for number, path in enumerate([*files, "test/0.bin"])]
    manifest = check(write({**files, "labels.csv": "\n".join(["path,label", *rows])}), validation=0)
    assert ("train/5.bin", "leak") in {(one.id, one.code) for one in manifest.refused}
    assert {row.split for row in manifest.rows if row.locator == "test/0.bin"} <= {"test"}


def test_a_table_elsewhere_keeps_to_the_folders_of_splits_that_it_names(write, check):
    files = {f"data/{split}/{number}.bin": f"{split}{number}" for split in ("train", "test") for number in range(4)}
    rows = [f"../../{path},{'ab'[number % 2]}" for number, path in enumerate(files)]
    folder = write({**files, "dev/tables/labels.csv": "\n".join(["path,label", *rows])})
    manifest = check(folder / "dev" / "tables" / "labels.csv", validation=0)
    assert {row.split for row in manifest.rows} == {"train", "test"}
    assert all(f"/data/{row.split}/" in row.locator for row in manifest.rows)


def test_what_the_column_of_splits_leaves_open_the_folders_say(write, check):
    files = {f"{split}/{number}.bin": f"{split}{number}" for split in ("train", "test") for number in range(4)}
    rows = [f"{path},{'ab'[number % 2]},{'train' * path.startswith('train/')}" for number, path in enumerate(files)]
    manifest = check(write({**files, "labels.csv": "\n".join(["path,label,split", *rows])}), validation=0)
    assert {row.id: row.split for row in manifest.rows} == {path: path.split("/")[0] for path in files}


def test_a_table_says_the_splits_before_folders_do_and_files_outside_are_learned_from(write, check):
    files = {f"{split}/{number}.bin": f"{split}{number}" for split in ("train", "test") for number in range(4)}
    files |= {f"more/{number}.bin": f"none{number}" for number in range(2)}
    labels = [f"{path},{'ab'[number % 2]}" for number, path in enumerate(files)]
    manifest = check(write({**files, "labels.csv": "\n".join(["path,label", *labels])}), validation=0)
    assert {row.id: row.split for row in manifest.rows} == {
        path: path.split("/")[0].replace("more", "train") for path in files
    }
    (said,) = [one.text for one in manifest.notes if one.code == "outside_of_splits"]
    assert said.endswith("folders of splits, which are to learn from: 2, such as `more/0.bin`.")
    assert in_french(said)
    turned = [f"{line},{'test' if line.startswith('train/') else 'train'}" for line in labels]
    manifest = check(write({"labels.csv": "\n".join(["path,label,split", *turned])}), validation=0)
    assert {row.id for row in manifest.rows if row.split == "test"} == {
        path for path in files if path.startswith("train/")
    }


def test_one_table_for_each_split(write, check):
    folder = write(
        {
            "f/1.bin": "a",
            "f/2.bin": "b",
            "f/3.bin": "c",
            "train.csv": "file,label\nf/1.bin,x\nf/2.bin,y\n",
            "test.csv": "file,label\nf/3.bin,x\n",
        }
    )
    assert {row.id: row.split for row in check(folder, validation=0).rows} == {
        "f/1.bin": "train",
        "f/2.bin": "train",
        "f/3.bin": "test",
    }


def test_lists_of_labels_make_every_row_multi_label(write, check):
    rows = [
        {"file": "1.bin", "tags": ["a", "b"]},
        {"file": "2.bin", "tags": []},
        {"file": "3.bin", "tags": "a"},
        {"file": "4.bin"},
    ]
    folder = write(
        {**{f"{n}.bin": str(n) for n in range(1, 5)}, "t.jsonl": "\n".join(map(json.dumps, rows)) + "\n{oops\n[1]\n"}
    )
    manifest = check(folder)
    assert labels(manifest) == {"1.bin": ("a", "b"), "2.bin": (), "3.bin": ("a",)}
    assert codes(manifest) == {"t.jsonl#4": "no_label", "t.jsonl#5": "malformed_row", "t.jsonl#6": "malformed_row"}
    assert manifest.is_multi_label


def test_a_separator_splits_labels(write, check):
    folder = write({"1.bin": "1", "2.bin": "2", "t.csv": "file,label\n1.bin,a|b\n2.bin,\n"})
    assert labels(check(folder, label_separator="|")) == {"1.bin": ("a", "b"), "2.bin": ()}


def test_parquet(write, check, folder):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write({"1.bin": "1", "2.bin": "2"})
    table = pyarrow.table({"file": ["1.bin", "2.bin"], "label": [3.0, None], "tags": [["a"], ["b"]]})
    parquet.write_table(table, folder / "t.parquet")
    manifest = check(folder)
    assert labels(manifest) == {"1.bin": "3"}
    assert codes(manifest) == {"t.parquet#2": "no_label"}
    assert labels(check(folder, label_column="tags")) == {"1.bin": ("a",), "2.bin": ("b",)}


def test_parquet_without_its_library_says_which_extra(write, check, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"ouvroir\[table\]"):
        check(write({"1.bin": "1", "t.parquet": b"PAR1"}))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-le", "utf-32-be", "cp1252", "latin-1"],
)
def test_encodings_of_tables(write, check, encoding):
    table = "fichier;étiquette\r\n1.bin;été\r\n2.bin;forêt\r\n"
    folder = write({"1.bin": "1", "2.bin": "2", "t.csv": table.encode(encoding)})
    manifest = check(folder)
    assert labels(manifest) == {"1.bin": "été", "2.bin": "forêt"}
    assert has_note(manifest, "encoding") == (not encoding.startswith("utf-8"))
    if encoding.startswith(("utf-16", "utf-32")):
        assert f"read as {encoding[:6].upper()}." in note(manifest, "encoding").text


@pytest.mark.parametrize("text", ["a quiet sea", "тихое море", "静かな海", "𝔞 🐈 𐐀", "a\n" * 40, "ab"])
def test_four_bytes_a_letter_are_told_from_two_with_a_mark_or_without(text):
    for name in ("utf-32-le", "utf-32-be"):
        for mark in (b"", "\ufeff".encode(name)):
            assert mark_of(mark + text.encode(name)) == "\ufeff".encode(name)
    for name in ("utf-16-le", "utf-16-be"):
        assert mark_of(("\ufeff" + text).encode(name)) == "\ufeff".encode(name)
        assert mark_of(text.encode(name)) in ("\ufeff".encode(name), b"")
    assert mark_of(text.encode()) == mark_of(b"\0" * 3) == mark_of(b"") == b""


@pytest.mark.parametrize("first", ["— ", "“", "œ", "… ", "€ ", "Я ", "海 ", "🐈 ", ""])
def test_the_order_of_bytes_is_told_by_all_that_is_looked_at(first):
    text = f"{first}Oui, dit-il, la mer est calme."
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        assert mark_of(text.encode(name)) == "\ufeff".encode(name)


@pytest.mark.parametrize("rare", ["\0", "\U000f0000", "\U0010fffd"])
def test_a_rare_character_among_letters_of_four_bytes(rare):
    for name in ("utf-32-le", "utf-32-be"):
        for text in ("The sea is quiet.", "Море спокойно."):
            assert mark_of(f"{text[:5]}{rare}{text[5:]}".encode(name)) == "\ufeff".encode(name)


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 200,
        bytes(range(200)),
        np.arange(100, dtype="<i4").tobytes(),
        np.linspace(-1, 1, 50, dtype="<f4").tobytes(),
        np.random.default_rng(0).integers(0, 256, 200, dtype=np.uint8).tobytes(),
        np.random.default_rng(0).integers(-9, 10, 100).astype("<i2").tobytes(),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0 \0\0\0 \x08\x02\0\0\0",
        "— Où est l’œuf ? Там, 海.".encode(),
        "Où est le pâté ?".encode("latin-1"),
    ],
)
def test_what_is_neither_has_no_mark(content):
    assert mark_of(content) == b""


def test_uneven_rows_quotes_and_null_bytes(write, check):
    table = b'file,label\n"1.bin","a, b"\n2.bin\n3.bin,c,d,e\n4.bin,f,,\n5.bin,g\0\n'
    folder = write({**{f"{n}.bin": str(n) for n in range(1, 6)}, "t.csv": table})
    manifest = check(folder)
    assert labels(manifest) == {"1.bin": "a, b", "4.bin": "f", "5.bin": "g"}
    assert codes(manifest) == {"t.csv#3": "no_label", "t.csv#4": "malformed_row", "3.bin": "not_in_table"}


def test_a_quote_that_never_closes_costs_one_row(write, check):
    table = 'file,label\n1.bin,"two\nlines"\n2.bin,"open\n3.bin,c\n4.bin,d\n'
    manifest = check(write({**{f"{n}.bin": str(n) for n in range(1, 5)}, "t.csv": table}))
    assert labels(manifest) == {"1.bin": "two\nlines", "3.bin": "c", "4.bin": "d"}
    assert codes(manifest) == {"t.csv#4": "malformed_row", "2.bin": "not_in_table"}


@pytest.mark.parametrize("file", ["Fichier", "nom_fichier", "CHEMIN", "File Name", "Datei"])
@pytest.mark.parametrize("label", ["Catégorie", "CATE\u0301GORIE", "Étiquette", "espèce", "Label_Name", "Klasse"])
def test_names_of_columns_in_other_languages_and_spellings(file, label):
    table = read_table("t.csv", f"{file},produit,{label}\nnowhere,1,x\nelsewhere,2,y\n".encode())
    found = find_columns(
        table,
        names_file=lambda cell: False,
        looks_like_file=lambda cell: False,
        path_column=None,
        label_column=None,
        group_column=None,
        reads_text=False,
    )
    assert (found.path, found.label) == (0, 2)


def test_a_task_says_what_a_table_may_call_the_column_of_its_files(tmp_path):
    (tmp_path / "t.csv").write_text("Photo,produit,classe\ngone.png,a,x\nlost.png,b,y\n", encoding="utf-8")
    found = read_source(tmp_path / "t.csv", Data(), task="image-classification")
    assert {refusal.code for refusal in found.refused} == {"missing"}
    assert "paths from `Photo`, labels from `classe`" in found.notes[0].text


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["red;round", "red", "blue;square"], ";"),
        (["a|b", "a", "c|b", ""], "|"),
        (["red, round", "red", "blue, round", "blue"], ","),
        (["Lyon, France", "Paris, France", "Nice, France", "Lille, France", "Rome, Italy", "Milan, Italy"], None),
        (["cat", "dog"], None),
        (["cat;dog", "cat"], None),
        ([3, None, ["a", "b"]], None),
    ],
)
def test_labels_that_look_like_lists(cells, separator):
    assert proposed_separator(cells) == separator


def test_a_separator_is_proposed_and_not_used(write, check):
    rows = "1.bin,red;round\n2.bin,red\n3.bin,blue;square\n"
    folder = write({"1.bin": "1", "2.bin": "2", "3.bin": "3", "t.csv": f"file,label\n{rows}"})
    manifest = check(folder)
    assert labels(manifest)["1.bin"] == "red;round"
    assert note(manifest, "separator_proposed").proposal == {"data.label_separator": ";"}
    manifest = check(folder, label_separator=";")
    assert labels(manifest)["1.bin"] == ("red", "round")
    assert not has_note(manifest, "separator_proposed")


def test_files_of_a_known_other_kind_are_refused_with_what_to_do(tmp_path):
    for name in ("cat/1.HEIC", "cat/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="Convert it to JPEG"):
        read_source(tmp_path, Data(), task=None)
    (tmp_path / "cat" / "3.png").write_bytes(b"x")
    reasons = {refusal.id: refusal.reason for refusal in read_source(tmp_path, Data(), task=None).refused}
    assert "Convert it to JPEG" in reasons["cat/1.HEIC"]
    assert reasons["cat/2.txt"].endswith("(.txt).")


def test_what_most_files_are_tells_the_task(write):
    folder = write({"couverture.jpg": "x", **{f"{name}.txt": name for name in "abc"}})
    found = read_source(folder, Data(), task=None)
    assert found.task == "text-generation"
    assert [one.id for one in found.refused] == ["couverture.jpg"]
    assert "other_kind" not in {one.code for one in found.notes}  # a lone picture is hardly what is meant
    for name in ("1.png", "2.PNG", "c.gif"):
        (folder / name).write_bytes(b"x")
    found = read_source(folder, Data(), task=None)
    assert found.task == "image-classification"  # `c.txt` says something of `c.gif`
    (folder / "d.txt").write_text("d")
    (folder / "e.txt").write_text("e")
    found = read_source(folder, Data(), task=None)
    assert found.task == "image-classification"  # as many texts as pictures
    assert "--task text-generation" in next(one.text for one in found.notes if one.code == "other_kind")
    (folder / "f.txt").write_text("f")
    found = read_source(folder, Data(), task=None)
    assert found.task == "text-generation"
    assert "not read: 4, such as `1.png`" in next(one.text for one in found.notes if one.code == "other_kind")


def test_captions_and_a_readme_leave_pictures_what_they_are(write):
    files = {f"images/{n}.png": "x" for n in range(3)} | {
        f"labels/{n}.{kind}.txt": "a" for n in range(3) for kind in "ab"
    }
    found = read_source(write({**files, "README.txt": "Pictures", "labels.txt": "a"}), Data(), task=None)
    assert found.task == "image-classification"
    assert "other_kind" not in {one.code for one in found.notes}


def test_texts_beside_documents_are_read(write):
    folder = write({"roman.txt": "Il était une fois.", **{f"{n}.pdf": "%PDF-1.4" for n in range(9)}})
    found = read_source(folder, Data(), task=None)
    assert found.task == "text-generation"
    assert [one.id for one in found.candidates] == ["roman.txt"]
    assert {one.reason.rpartition("). ")[2] for one in found.refused} == {
        "Where it holds text, save that as plain text (.txt), in UTF-8."
    }


def test_a_few_texts_among_what_nothing_reads_are_no_data_unless_it_is_said(write):
    folder = write({"README.md": "A program.", **{f"{n}.py": "x" for n in range(5)}})
    with pytest.raises(
        DataError, match=r"holds 6 files \(5 .py, 1 .md\)\. Those that can be read are 1.*--task text-generation"
    ):
        read_source(folder, Data(), task=None)
    assert len(read_source(folder, Data(), task="text-generation").candidates) == 1


def test_columns_that_cannot_be_told_are_asked_for(write, check):
    folder = write({"1.bin": "1", "2.bin": "2", "t.csv": "file,colour,size\n1.bin,red,1\n2.bin,blue,2\n"})
    with pytest.raises(DataError, match=r"file, colour, size.*--set data.label_column"):
        check(folder)
    for name in ("colur", "Còlour"):
        with pytest.raises(DataError, match=f"no column `{name}` .* Did you mean `colour`"):
            check(folder, label_column=name)
    assert set(labels(check(folder, label_column="colour")).values()) == {"red", "blue"}


def test_a_table_that_names_nothing_is_not_used_when_folders_serve(write, check):
    folder = write({"cat/1.bin": "1", "dog/1.bin": "2", "results.csv": "file,label\nelse.bin,x\n"})
    manifest = check(folder)
    assert set(labels(manifest).values()) == {"cat", "dog"}
    assert codes(manifest) == {"results.csv": "not_readable_here"}


def test_a_name_that_differs_by_capitals_only_is_told_from_a_missing_one(write, check):
    manifest = check(
        write({"sub/img 1.bin": "a", "b.bin": "b", "t.csv": "file,label\nIMG 1.BIN,x\nb.bin,y\nc.bin,y\n"})
    )
    reasons = {refusal.id: refusal.reason for refusal in manifest.refused if refusal.code == "missing"}
    assert "`sub/img 1.bin` is. Write capitals" in reasons["t.csv#2"]
    assert "Add the file" in reasons["t.csv#4"]


def test_a_table_whose_files_are_all_missing(write, check):
    folder = write({"t.csv": "file,label\n1.bin,x\n2.bin,y\n"})
    manifest = check(folder)
    assert set(codes(manifest).values()) == {"missing"}
    assert has_note(manifest, "nothing_admitted")
    with pytest.raises(DataError, match=r"None of the 2 rows.*not there"):
        manifest.require_trainable()


def test_texts_in_a_table(write, check):
    folder = write({"t.csv": "text,label\nhello,x\nbye,y\n,x\n"})
    manifest = check(folder / "t.csv", task="byte_task:TextTask")
    assert [row.text for row in manifest.rows] == ["hello", "bye"]
    assert codes(manifest) == {"t.csv#4": "empty"}


def make_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_zip_is_read_in_place(folder, check, hash_tree):
    make_zip(
        folder / "set.zip", {"train/cat/1.bin": "a", "train/dog/1.bin": "b", "test/cat/2.bin": "c", "test/dog/": ""}
    )
    before = hash_tree(folder)
    for source in (folder, folder / "set.zip"):
        manifest = check(source)
        assert labels(manifest) == {
            "set.zip::train/cat/1.bin": "cat",
            "set.zip::train/dog/1.bin": "dog",
            "set.zip::test/cat/2.bin": "cat",
        }
        assert manifest.rows[0].source(manifest.root).read(10) == b"c"
    assert hash_tree(folder) == before


def test_a_licence_beside_a_zip_does_not_close_it(folder, check, write):
    names = [f"{kind}/{number}.bin" for kind in ("cat", "dog") for number in range(10)]
    make_zip(folder / "set.zip", {name: f"content of {name}" for name in names})
    write(
        {
            "LICENSE.bin": "Do as you like.",
            "rows.csv": "file,label\n" + "\n".join(f"{name},{name[:3]}" for name in names),
        }
    )
    for source in (folder, folder / "rows.csv"):
        manifest = check(source)
        assert labels(manifest) == {f"set.zip::{name}": name[:3] for name in names}
    write({f"{number}.bin": f"loose {number}" for number in range(3)})  # too many to be side matter
    assert "set.zip" in codes(check(folder))


def test_made_up_samples_are_known_as_such(folder, check, write):
    write(
        {
            "cat/1.bin": "a",
            "dog/1.bin": "b",
            ".made_by_ouvroir": "This was made up.",
            "t.csv": "file,label\ncat/1.bin,x\n",
        }
    )
    make_zip(folder / "set.zip", {"cat/1.bin": "a", "dog/1.bin": "b", ".made_by_ouvroir": "This was made up."})
    for source in (folder, folder / "t.csv", folder / "set.zip"):
        manifest = check(source)
        assert [note.text for note in manifest.notes if note.code == "sample_data"] == [MADE]
        assert not any("made_by" in refusal.id for refusal in manifest.refused)


@pytest.mark.parametrize("task", ["text-classification", "audio-classification", "video-classification"])
def test_samples_that_are_made_up_say_so(task, tmp_path):
    ouvroir.sample(task, tmp_path / "made")
    assert (tmp_path / "made" / MADE_MARK).is_file()
    ouvroir.sample("image-classification", tmp_path / "real")  # handwritten digits
    assert not (tmp_path / "real" / MADE_MARK).exists()


def test_several_zips_are_folders(folder, check):
    make_zip(folder / "cat.zip", {"1.bin": "a"})
    make_zip(folder / "dog.zip", {"1.bin": "b"})
    assert labels(check(folder)) == {"cat.zip::1.bin": "cat", "dog.zip::1.bin": "dog"}


def test_a_table_beside_or_inside_a_zip(folder, check, write):
    make_zip(folder / "set.zip", {"f/1.bin": "a", "f/2.bin": "b"})
    write({"t.csv": "file,label\nf/1.bin,x\n2.bin,y\n"})
    assert set(labels(check(folder)).values()) == {"x", "y"}
    assert set(labels(check(folder / "t.csv")).values()) == {"x", "y"}
    (folder / "t.csv").unlink()
    make_zip(
        folder / "set.zip",
        {"f/1.bin": "a", "f/2.bin": "b", "t.csv": "file,label\nf/1.bin,x\nf/2.bin,y\n/etc/passwd,x\n"},
    )
    manifest = check(folder / "set.zip")
    assert set(labels(manifest).values()) == {"x", "y"}
    assert codes(manifest) == {"t.csv#4": "missing"}


def test_zip_entries_that_lead_out_or_cannot_be_read(folder, check):
    path = folder / "set.zip"
    make_zip(
        path,
        {"../out.bin": "a", "/abs.bin": "b", "x/../../y.bin": "c", "inner.zip": "d", "ok/1.bin": "e", "so/1.bin": "f"},
    )
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("ok/1.bin", "again")
    data = bytearray(path.read_bytes())
    where = data.rfind(b"PK\x01\x02", 0, data.rfind(b"so/1.bin"))
    data[where + 8] |= 1  # the encryption flag of the last directory entry but one
    path.write_bytes(data)
    manifest = check(path)
    assert codes(manifest) == {
        "set.zip::../out.bin": "unsafe_path",
        "set.zip::/abs.bin": "unsafe_path",
        "set.zip::x/../../y.bin": "unsafe_path",
        "set.zip::inner.zip": "nested_archive",
        "set.zip::ok/1.bin#5": "repeated_entry",
        "set.zip::so/1.bin": "encrypted",
    }
    assert [row.source(manifest.root).read(99) for row in manifest.rows] == [b"again"]


def test_a_damaged_zip(folder, check):
    (folder / "set.zip").write_bytes(b"PK nothing of the kind")
    with pytest.raises(DataError, match="cannot be opened as a zip"):
        check(folder / "set.zip")
    manifest = check(folder)
    assert codes(manifest) == {"set.zip": "unreadable"}


def test_sentences_for_what_cannot_serve(folder, check, write):
    with pytest.raises(DataError, match="is empty"):
        check(folder)
    with pytest.raises(DataError, match=r"nothing at .*Close names.*source"):
        check(folder.parent / "sourse")
    write({"a/1.xyz": "x", "a/2.xyz": "y"})
    with pytest.raises(DataError, match=r"None of the 2 files.*\(2 \.xyz\).*\.bin"):
        check(folder)
    with pytest.raises(DataError, match=r"None of the 2 files.*any task"):
        check(folder, task=None)
    with pytest.raises(DataError, match="is one file"):
        check(folder / "a" / "1.xyz")
    (folder / "a" / "1.xyz").unlink()
    with pytest.raises(DataError, match=r"The only file in .* cannot be read by"):
        check(folder)


def test_the_byte_task_is_found():
    assert isinstance(find_task(byte_task.NAME), byte_task.ByteTask)


def test_half_a_character_in_a_table_costs_no_traceback(write, check):
    rows = r'{"file": "1.bin", "label": "x\ud83d"}' + "\n" + '{"file": "2.bin", "label": "y"}\n'
    manifest = check(write({"1.bin": "1", "2.bin": "2", "t.jsonl": rows}))
    assert labels(manifest) == {"1.bin": "x?", "2.bin": "y"}
    assert manifest.fingerprint


def test_json_without_end_costs_its_row(write, check):
    rows = '{"file": "1.bin", "label": "x"}\n' + "[" * 200_000 + '\n{"file": "2.bin", "label": "y"}\n'
    manifest = check(write({"1.bin": "1", "2.bin": "2", "t.jsonl": rows}))
    assert len(manifest.rows) == 2
    assert codes(manifest) == {"t.jsonl#2": "malformed_row"}


def test_sources_that_lie_on_both_sides_are_told_and_classes_of_one_source_refused(tmp_path, monkeypatch):
    """Clips of a few videos: mixed they leak, kept together half of the classes could not be tested."""
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    sources = {"cars": ["road"], "boxes": ["belt"], "faces": ["ann", "bob", "cy"], "walks": ["yard", "hall", "lane"]}
    lines = ["text,label,source"]
    for label, names in sources.items():
        lines += [
            f"{label} seen {take} times by {name},{label},{name}" for name in names for take in range(24 // len(names))
        ]
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    mixed = admit(tmp_path / "clips.csv")
    n_test = sum(row.split == "test" for row in mixed.rows)
    said = note(mixed, "groups_mixed").text
    assert said.startswith(f"{n_test} of {n_test} test rows have the same `source`")
    mixed.require_trainable()
    apart = admit(tmp_path / "clips.csv", data=Data(group_column="source"))
    assert "groups_mixed" not in {one.code for one in apart.notes}
    with pytest.raises(
        DataError, match=r"2 of 4 classes come from one group each: `boxes` \(`belt`\), `cars` \(`road`\)"
    ):
        apart.require_trainable()
    apart.require_trainable(needs_labels=False)


RUN = dict.fromkeys(("recipe.json", "status.json", "environment.json"), "{}")
MODEL = dict.fromkeys(("recipe.json", "config.json", "hashes.json"), "{}")
EXPORTED = ("model.onnx", "model.pth", "model-f32.gguf")
DATA = {"cat/1.bin": "a", "dog/1.bin": "b"}


def under(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (RUN, "is a run"),
        (MODEL, "is a model"),
        (dict.fromkeys(("recipe.json", "training_state.json", "hashes.json"), "{}"), "is a model"),
        *(({"export.json": "{}", name: "x", "README.md": "# A"}, "is a model") for name in EXPORTED),
        ({"export.json": "{}", "config.json": "{}", "model.safetensors": "x", "README.md": "# A"}, "is a model"),
    ],
)
def test_a_run_or_a_model_that_is_given_is_no_data(write, check, tmp_path, files, says):
    folder = write({**files, **under("synthetic", DATA)})
    with pytest.raises(DataError, match=rf"source {says} of Ouvroir.*and no data\. Give the files"):
        check(folder)
    make_zip(tmp_path / "kept.zip", files)
    with pytest.raises(DataError, match=rf"kept\.zip {says} of Ouvroir"):
        check(tmp_path / "kept.zip")
    assert set(labels(check(folder / "synthetic"))) == set(DATA)


def test_what_others_export_is_data(write, check):
    folder = write({"export.json": "{}", "README.md": "# Of another program", **DATA})
    assert set(labels(check(folder))) == set(DATA)


def test_the_cache_that_is_given_is_no_data(write, check, home):
    home.mkdir()
    (home / "1.bin").write_bytes(b"a")
    with pytest.raises(DataError, match=r"home is where Ouvroir keeps.*OUVROIR_HOME"):
        check(home)


def test_the_cache_is_known_under_any_name(write, check, home, tmp_path, monkeypatch):
    folder = write({**DATA, **under("kept/packs", DATA)})
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").symlink_to(folder / "kept")
    manifest = check(folder)
    assert set(labels(manifest)) == set(DATA)
    assert codes(manifest) == {"kept": "own_folder"}
    with pytest.raises(DataError, match="is where Ouvroir keeps"):
        check(tmp_path / "elsewhere")


def test_a_link_to_the_cache_is_not_entered(write, check, home):
    home.mkdir()
    (home / "1.bin").write_bytes(b"c")
    folder = write(DATA)
    (folder / "mine").symlink_to(home)
    manifest = check(folder)
    assert set(labels(manifest)) == set(DATA)
    assert codes(manifest) == {"mine": "own_folder"}
    (folder.parent / "given").symlink_to(home)
    with pytest.raises(DataError, match="given is where Ouvroir keeps"):
        check(folder.parent / "given")


def test_folders_that_are_called_as_the_files_of_a_run_make_none(check, write, tmp_path):
    files = {f"{name}/{number}.bin": f"{name}{number}" for name in RUN for number in range(2)}
    assert set(labels(check(write(files)))) == set(files)
    make_zip(tmp_path / "all.zip", files)
    assert set(labels(check(tmp_path / "all.zip"))) == {f"all.zip::{name}" for name in files}


def test_runs_within_a_zip_are_not_entered(check, tmp_path):
    run = {**RUN, **under("synthetic", DATA), **under("final_model", MODEL)}
    make_zip(tmp_path / "all.zip", {**under("made/run", run), **under("made/model", MODEL), **DATA})
    manifest = check(tmp_path / "all.zip")
    assert set(labels(manifest)) == {"all.zip::cat/1.bin", "all.zip::dog/1.bin"}
    assert codes(manifest) == dict.fromkeys(("all.zip::made/run", "all.zip::made/model"), "own_folder")


def test_a_zip_of_a_run_beside_others_is_not_opened(check, folder):
    make_zip(folder / "data.zip", DATA)
    make_zip(folder / "run.zip", {**RUN, **DATA})
    manifest = check(folder)
    assert set(labels(manifest)) == {"data.zip::cat/1.bin", "data.zip::dog/1.bin"}
    assert codes(manifest) == {"run.zip": "own_folder"}


def test_a_folder_is_looked_at_by_the_names_in_it_alone(write, check, monkeypatch, folder):
    import os

    from ouvroir.data.listing import list_folder

    write({f"{number}/1.bin": "a" for number in range(20)})
    asked = []
    monkeypatch.setattr(
        os, "stat", lambda path, *rest, real=os.stat, **more: asked.append(path) or real(path, *rest, **more)
    )
    assert len(list_folder(folder).files) == 20
    assert len(asked) <= 2
