"""Labels that stand in the names of files."""

import pytest

from ouvroir import unseen
from ouvroir.errors import DataError
from ouvroir.recipe import Data


def named(n=5):
    return {
        f"{digit}_{who}_{take}.bin": f"{digit}{who}{take}"
        for digit in range(3)
        for who in ("ann", "bob")
        for take in range(n)
    }


def test_a_pattern_is_proposed_and_does_what_it_says(write, check):
    folder = write(named())
    plain = check(folder)
    assert not plain.rows
    (note,) = [note for note in plain.notes if note.code == "label_proposed"]
    assert "`0_ann_0.bin`" in note.text
    assert note.proposal == {"data.label_pattern": "^([^_-]+)"}
    found = check(folder, label_pattern=note.proposal["data.label_pattern"])
    assert {row.label for row in found.rows} == {"0", "1", "2"}
    assert len(found.rows) == 30


def test_names_that_do_not_match_are_refused_by_name(write, check):
    found = check(write({**named(), "other.bin": "x"}), label_pattern=r"^(\d)_")
    assert {refusal.id: refusal.code for refusal in found.refused} == {"other.bin": "no_label"}
    assert "pattern finds no label" in found.refused[0].reason


def test_one_folder_that_holds_everything_is_no_class(write, check):
    folder = write({f"recordings/{name}": content for name, content in named().items()})
    assert any(note.code == "label_proposed" for note in check(folder).notes)
    found = check(folder, label_pattern=r"_(ann|bob)_")
    assert {row.label for row in found.rows} == {"ann", "bob"}


def test_class_folders_need_no_pattern(write, check):
    folder = write({f"{name[0]}/{name}": content for name, content in named().items()})
    assert not any(note.code == "label_proposed" for note in check(folder).notes)


def test_splits_of_folders_stay(write, check):
    files = {f"{split}/{name}": f"{split}{content}" for split in ("train", "test") for name, content in named().items()}
    found = check(write(files), label_pattern="^([^_]+)_")
    assert {row.label for row in found.rows} == {"0", "1", "2"}
    assert all(row.split == "test" for row in found.rows if row.id.startswith("test/"))


@pytest.mark.parametrize(("pattern", "said"), [("(", "regular expression"), ("abc", "has no group")])
def test_bad_patterns_are_said(write, check, pattern, said):
    with pytest.raises(DataError, match=said):
        check(write(named()), label_pattern=pattern)


def test_a_model_is_judged_on_its_own_data_with_the_labels_that_it_learned(folder):
    trained = Data(source=str(folder), label_pattern=r"^(\d)_")
    assert unseen.reading(folder, trained, {}).label_pattern == r"^(\d)_"
    assert unseen.reading(folder, trained, {"data.label_pattern": "(x)"}).label_pattern == "(x)"
    assert unseen.reading(folder / "others", trained, {}).label_pattern is None  # where folders may be the classes


def test_columns_that_a_table_has_are_those_of_training(write):
    folder = write({"new.csv": "text,note\nhow it was,good\n", "other.csv": "text,rating\nhow it was,good\n"})
    trained = Data(source="elsewhere.csv", label_column="note", text_column="text")
    found = unseen.reading(folder / "new.csv", trained, {})
    assert (found.label_column, found.text_column) == ("note", "text")
    assert unseen.reading(folder / "other.csv", trained, {}).label_column is None
    assert unseen.reading(folder / "other.csv", trained, {"data.label_column": "rating"}).label_column == "rating"
