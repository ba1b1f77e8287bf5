"""Tables whose cells are texts: told from tables of files, and their columns from each other."""

import csv
import io
import json
import re

import pytest

import ouvroir
from ouvroir.data.sources import read_source
from ouvroir.errors import DataError, RecipeError
from ouvroir.recipe import Data

GOOD = "I have never had a better lamp than this"
BAD = "it went out after two days and smells"
TEXTS = [f"{GOOD if number % 2 else BAD}, number {number}" for number in range(12)]


def table(columns, rows):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def rows_of(column="text", label="label"):
    return table([column, label], [[text, number % 2] for number, text in enumerate(TEXTS)])


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
@pytest.mark.parametrize("given", ["table", "folder"])
def test_a_table_of_texts_is_a_task_on_texts(write, name, given):
    lines = "\n".join(json.dumps({"text": text, "label": str(n % 2)}) for n, text in enumerate(TEXTS))
    folder = write({name: rows_of() if name == "t.csv" else lines, "LICENSE.txt": "Do as you like."})
    found = read_source(folder / name if given == "table" else folder, Data(), task=None)
    assert found.task == "text-classification"
    assert [candidate.text for candidate in found.candidates] == TEXTS
    assert [refusal.code for refusal in found.refused] == (["not_in_table"] if given == "folder" else [])


@pytest.mark.parametrize("column", ["texte", "Avis", "column of anything", "verbatim"])
@pytest.mark.parametrize("label", ["label", "sentiment", "étiquette", "stars"])
def test_columns_of_texts_are_found_by_name_or_by_what_is_in_them(write, column, label):
    found = read_source(write({"t.csv": rows_of(column, label)}), Data(), task=None)
    assert [candidate.text for candidate in found.candidates] == TEXTS
    assert {candidate.label for candidate in found.candidates} == {"0", "1"}


def test_of_several_columns_the_one_that_is_named_is_taken(write):
    rows = [
        [f"a rather short title of {n}", text, "the very same words in each row of all", n % 2]
        for n, text in enumerate(TEXTS)
    ]
    folder = write({"t.csv": table(["headline", "long", "note to all", "label"], rows)})
    assert read_source(folder, Data(), task=None).candidates[0].text == TEXTS[0]
    (note,) = [one for one in read_source(folder, Data(), task=None).notes if one.code == "texts_unread"]
    assert note.text == "One column of texts is read, and `t.csv` has others: `headline`."
    assert note.proposal == {"data.text_column": "headline"}
    named = read_source(folder, Data(text_column="headline"), task=None)
    assert "texts_unread" not in [one.code for one in named.notes]
    assert named.candidates[0].text == "a rather short title of 0"
    with pytest.raises(DataError, match=r"no column `headlin`.*Did you mean `headline`"):
        read_source(folder, Data(text_column="headlin"), task=None)
    with pytest.raises(DataError, match="column of texts"):
        read_source(folder, Data(text_column="long", label_column="long"), task=None)


def test_texts_that_end_like_files_are_texts(write):
    rows = [[f"please read {n}.txt", n % 2] for n in range(9)]
    found = read_source(write({"t.csv": table(["message", "label"], rows)}), Data(), task=None)
    assert [candidate.text for candidate in found.candidates] == [row[0] for row in rows]


def test_a_table_that_names_text_files_is_joined_to_them(write):
    files = {f"{number}.txt": text for number, text in enumerate(TEXTS)}
    rows = [[f"{number}.txt", number % 2, "some words about this very file here"] for number in range(12)]
    folder = write({**files, "t.csv": table(["file", "label", "remark"], rows)})
    found = read_source(folder, Data(), task=None)
    assert found.task == "text-classification"
    assert sorted(candidate.locator for candidate in found.candidates) == sorted(files)
    assert not found.refused


def test_captions_beside_pictures_do_not_make_texts_of_them(write):
    files = {f"{number}.png": f"picture {number}" for number in range(12)}
    rows = [[f"{number}.png", text, number % 2] for number, text in enumerate(TEXTS)]
    for names in (["file", "text", "label"], ["any", "caption", "label"]):
        folder = write({**files, "t.csv": table(names, rows)})
        assert read_source(folder, Data(), task=None).task == "image-classification"
        assert read_source(folder / "t.csv", Data(), task=None).task == "image-classification"
    assert read_source(write({f"{number}.txt": text for number, text in enumerate(TEXTS)}), Data(), task=None).task == (
        "image-classification"
    )


def test_pictures_that_lie_beside_a_table_of_texts_are_no_concern_of_it(write):
    folder = write({"reviews.csv": rows_of(), **{f"holiday/{number}.png": str(number) for number in range(40)}})
    found = read_source(folder / "reviews.csv", Data(), task=None)
    assert found.task == "text-classification"
    assert len(found.candidates) == 12
    assert not found.refused


def test_splits_and_groups_of_texts(write):
    parts = {
        split: table(["text", "label", "article"], [[f"{text} {split}", n % 2, n // 3] for n, text in enumerate(TEXTS)])
        for split in ("train", "test")
    }
    found = read_source(write({f"{split}.csv": content for split, content in parts.items()}), Data(), task=None)
    assert {candidate.split for candidate in found.candidates} == {"train", "test"}
    proposed = [note.proposal for note in found.notes if note.code == "group_proposed"]
    assert {"data.group_column": "article"} in proposed


def test_texts_without_any_column_of_labels_are_refused_with_what_to_do(write):
    rows = [[text, number, number / 7] for number, text in enumerate(TEXTS)]
    folder = write({"t.csv": table(["text", "first", "second"], rows)})
    with pytest.raises(DataError, match="holds texts, but no column is named like a label"):
        read_source(folder, Data(), task="text-classification")
    assert read_source(folder, Data(), task=None).task == "text-generation"


def test_class_folders_of_text_files(write):
    files = {f"{('good', 'bad')[number % 2]}/{number}.md": text for number, text in enumerate(TEXTS)}
    found = read_source(write(files), Data(), task=None)
    assert found.task == "text-classification"
    assert {candidate.label for candidate in found.candidates} == {"good", "bad"}


def test_one_very_long_line_is_one_row(write):
    rows = [[text, n % 2] for n, text in enumerate(TEXTS)]
    folder = write({"t.csv": table(["text", "label"], [*rows, ["x" * 5_000_000, 0]])})
    assert len(read_source(folder, Data(), task=None).candidates) == 13


def test_a_first_line_that_is_a_row_is_one(write):
    rows = [[text, "good" if number % 2 else "bad"] for number, text in enumerate(TEXTS)]
    found = read_source(write({"t.csv": table(*[rows[0], rows[1:]])}), Data(), task=None)
    assert [(one.text, one.label) for one in found.candidates] == [(text, label) for text, label in rows]
    assert found.found == len(found.candidates) == len(TEXTS)
    (note,) = [note for note in found.notes if note.code == "no_header"]
    assert "`text,label` on top" in note.text


def test_a_question_may_be_the_name_of_a_column_and_is_said(write):
    found = read_source(write({"t.csv": rows_of("How was your stay with us?", "rating")}), Data(), task=None)
    assert [one.text for one in found.candidates] == TEXTS
    assert [note.code for note in found.notes if "head" in note.code] == ["head_in_doubt"]


def test_rows_of_empty_cells_are_accounted_for(write):
    found = read_source(write({"t.csv": rows_of() + ",\n \n,\n"}), Data(), task=None)
    assert [candidate.text for candidate in found.candidates] == TEXTS
    assert found.found == len(TEXTS) + 3
    assert {refusal.reason.split(": ")[1] for refusal in found.refused} == {"all its cells are empty."}


SENTENCES = [
    f"The {colour} boat number {n} left the harbour at dawn, and nobody saw it."
    for n in range(30)
    for colour in ("red", "grey")
]


def write_texts(path, more):
    rows = [{"text": text, **{name: give(n) for name, give in more.items()}} for n, text in enumerate(SENTENCES)]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow = pytest.importorskip("pyarrow")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("more", [{}, {"id": lambda n: n}, {"title": lambda n: f"Letter {n}"}])
def test_texts_without_labels_are_a_corpus(tmp_path, suffix, more):
    write_texts(tmp_path / f"letters.{suffix}", more)
    manifest = ouvroir.check(tmp_path / f"letters.{suffix}")
    assert manifest.task == "text-generation"
    assert manifest.labels == ()
    assert sum(row.details["characters"] for row in manifest.rows) == sum(map(len, SENTENCES))
    assert ouvroir.check(tmp_path).task == "text-generation"


def test_where_a_column_may_be_labels_the_other_task_is_named(tmp_path):
    write_texts(tmp_path / "letters.csv", {"author": lambda n: f"Ann {n % 3}", "place": lambda n: f"Rue {n % 5}"})
    with pytest.raises(DataError, match=r"data.label_column=author.* --task text-generation"):
        ouvroir.check(tmp_path / "letters.csv")
    write_texts(tmp_path / "letters.csv", {"author": lambda n: f"Ann {n % 3}", "label": lambda n: f"{n % 2}"})
    assert ouvroir.check(tmp_path / "letters.csv").task == "text-classification"


def test_numbers_of_rows_are_no_labels_of_texts_even_where_they_repeat(tmp_path):
    write_texts(tmp_path / "letters.csv", {"id": lambda n: n % 7})
    manifest = ouvroir.check(tmp_path)
    assert (manifest.task, manifest.labels) == ("text-generation", ())


def test_labels_that_are_guessed_are_said_and_can_be_left(tmp_path):
    write_texts(tmp_path / "letters.csv", {"kind": lambda n: n % 7})
    (tmp_path / "more.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    write_texts(tmp_path / "other.jsonl", {})
    for task, used in ((None, "text-classification"), ("text-generation", "text-generation")):
        manifest = ouvroir.check(tmp_path, task=task)
        assert (manifest.task, len(manifest.labels)) == (used, 7)
        (note,) = [note for note in manifest.notes if note.code == "label_guessed"]
        assert note.proposal == {"data.labels": "false"}
        reasons = {refusal.id: refusal.reason for refusal in manifest.refused}
        assert "--set data.labels=false" in reasons["more.txt"]
        assert "is another table, and rows are read from `letters.csv`" in reasons["other.jsonl"]
        manifest = ouvroir.check(tmp_path, task=task, settings=note.proposal)
        assert (manifest.task, manifest.labels) == ("text-generation", ())
        assert len(manifest.rows) == 2 * len(SENTENCES) + 1 - sum("same" in one.code for one in manifest.refused)
    write_texts(tmp_path / "letters.csv", {"label": lambda n: n % 7})
    assert not [note for note in ouvroir.check(tmp_path).notes if note.code == "label_guessed"]


def test_folders_are_no_labels_where_none_are_wanted(tmp_path):
    for n, text in enumerate(SENTENCES):
        (tmp_path / f"k{n % 2}").mkdir(exist_ok=True)
        (tmp_path / f"k{n % 2}" / f"{n}.txt").write_text(text, encoding="utf-8")
    assert ouvroir.check(tmp_path).labels == ("k0", "k1")
    manifest = ouvroir.check(tmp_path, settings={"data.labels": False})
    assert (manifest.task, manifest.labels) == ("text-generation", ())
    assert len(manifest.rows) == len(SENTENCES)


@pytest.mark.parametrize(
    ("more", "match"),
    [({"data.label_column": "kind"}, "label_column=kind says where"), ({"data.label_pattern": "(.)"}, "label_pattern")],
)
def test_no_labels_and_where_they_are_contradict_each_other(tmp_path, more, match):
    write_texts(tmp_path / "letters.csv", {"kind": lambda n: n % 7})
    with pytest.raises(DataError, match=match):
        ouvroir.check(tmp_path, settings={"data.labels": False, **more})
    with pytest.raises(DataError, match="text-classification learns from them"):
        ouvroir.check(tmp_path, task="text-classification", settings={"data.labels": False})


def test_a_column_without_a_name_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="label_column"):
        ouvroir.check(tmp_path, settings={"data.label_column": ""})


def labelled(start, columns=("text", "label")):
    """Six texts of their own, each with a label, as a table."""
    return table(list(columns), [[f"{GOOD}, letter {n}", "ab"[n % 2]] for n in range(start, start + 6)])


def splits_of(found):
    return {place: {one.split for one in found.candidates if one.id.startswith(place)} for place in places_of(found)}


def places_of(found):
    return sorted({one.id.rpartition("#")[0] for one in found.candidates})


@pytest.mark.parametrize(
    "names",
    [
        ["train/a.csv", "train/b.csv", "test/a.csv", "test/b.csv"],
        ["train-00000-of-00002.csv", "train-00001-of-00002.csv", "test-00000-of-00001.csv"],
        ["train.csv", "test/more/x.csv"],
        ["data/train.csv", "data/test/a/b.csv", "data/test/c.csv"],
        ["train/a.csv", "train/more/b.csv", "dev/deep/er/c.csv", "test.csv"],
        [
            "data/train-00000-of-00002-1a2b3c.csv",
            "data/train-00001-of-00002-d4e5f6.csv",
            "data/test-00000-of-00001-77ff.csv",
        ],
        ["train/train_en.csv", "train/train_fr.csv", "test/test_en.csv", "test/fr.csv"],
        ["train.csv", "test/test_easy.csv", "test/test_hard.csv"],
        ["train-00000-of-00002.csv", "train-00001-of-00002.csv"],
    ],
)
def test_labelled_tables_that_say_splits_are_all_used(write, names):
    folder = write({name: labelled(6 * number) for number, name in enumerate(names)})
    found = read_source(folder, Data(), task=None)
    assert found.task == "text-classification"
    said = {"train": "train", "test": "test", "dev": "validation"}
    assert splits_of(found) == {
        name: {next(split for word, split in said.items() if word in re.split(r"[\W_]+", name))} for name in names
    }
    assert not found.refused
    notes = [one.text for one in found.notes if one.code == "splits_by_folder"]
    places = [
        next((folder for folder in ("train", "test", "data/test", "dev") if name.startswith(f"{folder}/")), name)
        for name in names
    ]
    assert len(notes) == 1
    assert all(f"`{place}`" in notes[0] for place in places)


def test_shards_in_one_folder_are_one_set(write):
    found = read_source(
        write({f"train/{name}.csv": labelled(n) for n, name in ((0, "a"), (6, "b"))}), Data(), task=None
    )
    assert splits_of(found) == {"train/a.csv": {None}, "train/b.csv": {None}}


@pytest.mark.parametrize(
    "names",
    [
        ["a.csv", "b.csv"],
        ["train.csv", "train_old.csv"],
        ["train-0.csv", "train-1.csv"],
        ["train.csv", "train_old.csv", "test.csv"],
        ["train0.csv", "train1.csv", "test0.csv", "test1.csv"],
        ["train-00000-of-00002.csv", "train-00001-of-00003.csv", "test.csv"],
    ],
)
def test_tables_that_may_be_the_same_again_are_asked_about(write, names):
    folder = write({name: labelled(6 * number) for number, name in enumerate(names)})
    match = r"Several tables (hold texts|say the split `(train|test)`): .*Give the path.*folders that are called like a split"
    with pytest.raises(DataError, match=match):
        read_source(folder, Data(), task="text-classification")


@pytest.mark.parametrize("folders", [("fold0", "fold1", "fold2"), ("v1", "v2"), ("raw", "clean")])
@pytest.mark.parametrize("form", ["{}/{}.csv", "{}/{}/part.csv"])
def test_folders_that_hold_splits_each_are_asked_about(write, folders, form):
    names = [form.format(folder, split) for folder in folders for split in ("train", "test")]
    folder = write({name: labelled(6 * number) for number, name in enumerate(names)})
    with pytest.raises(
        DataError, match=f"Several folders hold tables that say splits: .*`{folders[1]}`.*Give the path"
    ):
        read_source(folder, Data(), task="text-classification")


@pytest.mark.parametrize(
    ("used", "unused"),
    [
        (["train.csv"], ["old/train.csv"]),
        (["train.csv"], ["eval/results/test.csv"]),
        (["train.csv"], ["deep/test/a.csv"]),
        (["test.csv", "train.csv"], ["backup/2023/test.csv", "backup/2023/train.csv"]),
        (["data/test.csv", "data/train.csv"], ["extra/test.csv"]),
        (["test/a.csv", "train.csv"], ["train/b.csv"]),
    ],
)
def test_tables_of_other_folders_are_not_put_together_and_it_is_said(write, used, unused):
    folder = write({name: labelled(6 * number) for number, name in enumerate([*used, *unused])})
    found = read_source(folder, Data(), task="text-classification")
    assert places_of(found) == used
    assert [one.id for one in found.refused] == unused
    (note,) = [one.text for one in found.notes if one.code == "table_ignored"]
    assert all(f"`{name}`" in note for name in unused)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("test/b.tsv", labelled(12).replace(",", "\t"), "is a file of another kind than `test/a.csv`"),
        (
            "test/b.csv",
            labelled(12, ("text", "label2")),
            "`test/b.csv` lacks the column `label` that `test/a.csv` has.",
        ),
        ("test/b.csv", "", "`test/b.csv` is 0 bytes long."),
        ("test/b.csv", table(["note"], [["none"]]), "`test/b.csv` neither holds texts nor names files"),
    ],
)
def test_a_table_that_does_not_fit_is_left_out_alone(write, name, content, reason):
    folder = write({"train.csv": labelled(0), "test/a.csv": labelled(6), name: content})
    found = read_source(folder, Data(), task="text-classification")
    assert splits_of(found) == {"train.csv": {"train"}, "test/a.csv": {"test"}}
    (refused,) = found.refused
    assert (refused.id, refused.code) == (name, "not_in_table")
    assert reason in refused.reason
    (note,) = [one.text for one in found.notes if one.code == "table_ignored"]
    assert f"`{name}`" in note


@pytest.mark.parametrize("name", ["test.csv", "test/a.csv"])
@pytest.mark.parametrize(
    ("columns", "label", "reason"),
    [(("text", "label"), "topic", "has no column `topic`"), (("nothing", "n"), None, "neither holds texts")],
)
def test_a_split_of_which_no_table_serves_is_an_error(write, name, columns, label, reason):
    rest = table(columns, [["x", n] for n in range(6)]) if columns[0] == "nothing" else labelled(6, columns)
    folder = write({"train.csv": labelled(0, ("text", label or "label")), name: rest})
    with pytest.raises(DataError, match=f"No table of the split `test` can be used.*{reason}.*give the path"):
        read_source(folder, Data(label_column=label), task="text-classification")


def test_a_test_without_labels_is_left_out_and_it_is_said(write):
    folder = write({"train.csv": labelled(0), "test.csv": table(["text"], [[f"{GOOD}, letter {n}"] for n in range(6)])})
    found = read_source(folder, Data(), task="text-classification")
    assert places_of(found) == ["train.csv"]
    (note,) = [one.text for one in found.notes if one.code == "table_ignored"]
    assert "`test.csv` has no column of labels, so it is no test split." in note


@pytest.mark.parametrize(
    "content",
    [
        "name,description\na,Of the sea and of ships\nb,Of the land and of roads\n",
        "author,born\nx,1900\ny,1910\n",
        "note\nAsk them for the other letters.\n",
        "",
    ],
)
def test_a_table_above_does_not_hide_the_splits_below(write, content):
    folder = write({"a_table.csv": content, "train/a.csv": labelled(0), "test/a.csv": labelled(6)})
    found = read_source(folder, Data(), task="text-classification")
    assert splits_of(found) == {"train/a.csv": {"train"}, "test/a.csv": {"test"}}
    assert [one.id for one in found.refused] == ["a_table.csv"]


def test_a_table_of_other_columns_below_is_none_of_the_splits(write):
    folder = write({"train.csv": labelled(0), "test/x.csv": labelled(6), "test/y.csv": labelled(12, ("texte", "rank"))})
    found = read_source(folder, Data(), task=None)
    assert splits_of(found) == {"train.csv": {"train"}, "test/x.csv": {"test"}}
    assert [(one.id, one.code) for one in found.refused] == [("test/y.csv", "not_in_table")]


def test_a_corpus_in_a_table_and_a_folder_of_a_split_has_that_split(write):
    lines = [table(["text"], [[f"{GOOD}, letter {n}"] for n in range(start, start + 6)]) for start in (0, 6, 12)]
    folder = write(dict(zip(("train.csv", "test/more/x.csv", "other/y.csv"), lines, strict=True)))
    found = read_source(folder, Data(), task=None)
    assert splits_of(found) == {"train.csv": {"train"}, "test/more/x.csv": {"test"}, "other/y.csv": {None}}
    (note,) = [one.text for one in found.notes if one.code == "splits_by_folder"]
    assert (
        note == "Taken as splits by their folders and names: `train.csv`, `test`. All other tables are to learn from."
    )


def test_notes_tell_tables_of_one_name_apart(write):
    folder = write({f"{split}/part.csv": labelled(start) for split, start in (("train", 0), ("test", 6))})
    texts = [one.text for one in read_source(folder, Data(), task=None).notes if one.code == "table_used"]
    assert [text.split("`")[1] for text in texts] == ["test/part.csv", "train/part.csv"]
    for start, split in ((0, "train"), (6, "test")):
        content = labelled(start).replace(GOOD, "Là, l’été est beau et long")
        (folder / split / "part.csv").write_bytes(content.encode("cp1252"))
    texts = [one.text for one in read_source(folder, Data(), task=None).notes if one.code == "encoding"]
    assert [text.split("`")[1] for text in texts] == ["test/part.csv", "train/part.csv"]


def test_without_labels_texts_in_tables_and_texts_that_tables_name_are_read(tmp_path):
    write_texts(tmp_path / "letters.csv", {"kind": lambda n: n % 7})
    for n in range(12):
        (tmp_path / f"{n}.txt").write_text(f"{GOOD}, file {n}.\n" * 3, encoding="utf-8")
    rows = [[f"{n}.txt", ("train", "test")[n % 2], n % 3] for n in range(10)]
    (tmp_path / "files.csv").write_text(table(["file", "split", "label"], rows), encoding="utf-8")
    found = read_source(tmp_path, Data(labels=False), task=None)
    assert found.task == "text-generation"
    assert not found.refused
    assert {one.locator for one in found.candidates if one.locator} == {f"{n}.txt" for n in range(12)}
    assert sum(one.text is not None for one in found.candidates) == len(SENTENCES)
    assert len(found.candidates) == len(SENTENCES) + 12
    splits = {one.locator: one.split for one in found.candidates if one.locator}
    assert (splits["0.txt"], splits["1.txt"], splits["11.txt"]) == ("train", "test", None)


def test_tables_of_a_corpus_without_the_column_that_is_named_are_read_as_usual(tmp_path):
    (tmp_path / "below").mkdir()
    write_texts(tmp_path / "a.jsonl", {"story": lambda n: f"Once there were {n} boats upon the sea."})
    write_texts(tmp_path / "b.jsonl", {"id": lambda n: n})
    write_texts(tmp_path / "below" / "c.jsonl", {"id": lambda n: n})
    found = read_source(tmp_path, Data(text_column="story"), task=None)
    assert found.task == "text-generation"
    texts = {place: [one.text for one in found.candidates if one.id.startswith(place)] for place in places_of(found)}
    assert texts["a.jsonl"][3] == "Once there were 3 boats upon the sea."
    assert texts["b.jsonl"] == texts["below/c.jsonl"] == SENTENCES
    (note,) = [one.text for one in found.notes if one.code == "column_lacking"]
    assert note == "Tables without the column `story` that was named are read as usual: `b.jsonl`, `below/c.jsonl`."
    assert "table_ignored" not in [one.code for one in found.notes]
    with pytest.raises(DataError, match=r"`a.jsonl` has no column `tale` .*No other table beside it has it either"):
        read_source(tmp_path, Data(text_column="tale"), task=None)


def test_of_labelled_tables_one_without_the_column_that_is_named_is_left(write):
    folder = write({"a.csv": labelled(0, ("story", "label")), "b.csv": labelled(6)})
    found = read_source(folder, Data(text_column="story"), task=None)
    assert places_of(found) == ["a.csv"]
    assert any("`b.csv` has no column `story`" in one.text for one in found.notes if one.code == "table_ignored")
