import csv
import io
import json
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from ouvroir import predictor
from ouvroir.errors import Refused, RunError, UsageError
from ouvroir.predictor import Predictor, expand_inputs
from ouvroir.progress import Quiet
from ouvroir.recipe import Data
from ouvroir.source import Source, source_of
from ouvroir.task import Prediction

TASK = "image-classification"
CAT = Prediction(scores={"cat": 0.75, "dog": 0.25}, label="cat")
UNSURE = Prediction(scores={"cat": 0.5, "dog": 0.5})
BROKEN = Prediction(error="`x.png` is 0 bytes, so it cannot be decoded.")
MANY = Prediction(scores={"red": 0.9, "round": 0.8, "old": 0.1}, labels=("red", "round"))


class Told(Quiet):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


class EchoProcessor:
    labels = ()

    def to_answer(self):
        return self

    def encode(self, source, limits):
        return {"text": np.array(source.text)}


@dataclass
class Echo:
    """Answers every input with itself; remembers how many it was given at a time."""

    sizes: list = field(default_factory=list)
    thresholds: set = field(default_factory=set)

    def as_source(self, given):
        if given is None:
            raise Refused("unreadable", "unreadable")
        return Source(root="", locator="", text=str(given))

    def predict(self, model, processor, recipe, examples, *, device, threshold):
        self.sizes.append(len(examples))
        self.thresholds.add(threshold)
        return [Prediction(text=str(example["text"])) for example in examples]


def make(task, **others):
    return Predictor(task, model=None, processor=EchoProcessor(), recipe=None, **others)


def test_order_and_length_are_kept_and_an_unreadable_input_stops_nothing():
    task = Echo()
    found = make(task).predict(["a", None, "b", "c", "d"], batch_size=2)
    assert [one.text for one in found] == ["a", None, "b", "c", "d"]
    assert found[1].error == "unreadable"
    assert task.sizes == [1, 2, 1]


def test_a_generator_is_read_only_as_far_as_needed():
    read = []

    def endless():
        number = 0
        while True:
            read.append(number)
            yield number
            number += 1

    answers = make(Echo()).each(endless(), batch_size=10)
    assert [next(answers).text for _ in range(15)] == [str(number) for number in range(15)]
    assert len(read) == 20


def test_the_threshold_of_the_bundle_can_be_overridden():
    task = Echo()
    answering = make(task, threshold=0.5)
    answering.predict(["a"])
    answering.predict(["a"], threshold=0.0)
    assert task.thresholds == {0.5, 0.0}


def test_wrong_calls_are_refused_at_once():
    with pytest.raises(UsageError, match="a list"):
        make(Echo()).each("a.png")
    with pytest.raises(UsageError, match="batch size"):
        make(Echo()).each([], batch_size=0)
    with pytest.raises(UsageError, match="workers"):
        make(Echo()).each([], workers=-1)
    with pytest.raises(UsageError, match="between 0 and 1"):
        make(Echo()).each([], threshold=1.5)
    with pytest.raises(RunError, match="no run or model at `nowhere`"):
        predictor.load("nowhere", device="cpu")


def test_a_predictor_shows_itself_in_a_line():
    @dataclass
    class Known:
        task: str = TASK

    assert repr(Predictor(Echo(), None, EchoProcessor(), Known())) == f"<Predictor {TASK}, on cpu>"
    knowing = EchoProcessor()
    knowing.labels = ("cat", "dog")
    assert repr(Predictor(Echo(), None, knowing, Known())) == f"<Predictor {TASK}, 2 classes, on cpu>"


def test_a_folder_is_no_input(tmp_path):
    with pytest.raises(Refused, match=f"`{tmp_path.name}` is a folder"):
        source_of(tmp_path).read(10)


def test_what_came_before_a_list_breaks_off_is_answered():
    def inputs():
        yield from "abc"
        raise UsageError("There is no more.")

    answers = make(Echo()).each(inputs(), batch_size=2)
    assert [next(answers).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(UsageError, match="no more"):
        next(answers)


def test_threads_share_a_predictor():
    answering = make(Echo())
    wrong = []

    def ask(start):
        wanted = [str(number) for number in range(start, start + 200)]
        if [one.text for one in answering.predict(range(start, start + 200), batch_size=7)] != wanted:
            wrong.append(start)

    threads = [threading.Thread(target=ask, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------- inputs


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "sub/c.gif", ".git/d.png", "empty/readme.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(found, root):
    return [name.removeprefix(f"{root}/") for name, _ in found]


def test_folders_are_searched_in_a_stable_order(folder):
    assert names(expand_inputs([folder], TASK), folder) == ["a.JPG", "b.png", "sub/c.gif"]
    for name in ("img10.png", "img2.png", "img02.png"):
        (folder / "sub" / name).write_bytes(b"x")
    assert names(expand_inputs([folder / "sub"], TASK), folder / "sub") == [
        "c.gif",
        "img02.png",
        "img2.png",
        "img10.png",
    ]


def test_a_named_file_is_given_as_it_is_even_when_missing(folder):
    wanted = [folder / "notes.txt", folder / "nowhere.png"]
    assert [item for _, item in expand_inputs(wanted, TASK)] == wanted


def test_a_folder_without_files_of_the_task_is_a_wrong_call(folder):
    with pytest.raises(UsageError, match="no file to answer for"):
        list(expand_inputs([folder / "empty"], TASK))


def test_files_of_other_kinds_in_a_folder_are_told_and_never_passed_over(folder):
    for name in ("c.HEIC", "sub/d.nef", "sub/e"):
        (folder / name).write_bytes(b"x")
    told = Told()
    found = dict(expand_inputs([folder], TASK, progress=told))
    assert names(found.items(), folder) == ["a.JPG", "b.png", "c.HEIC", "sub/c.gif", "sub/d.nef"]
    refused = {one.reason for one in found.values() if isinstance(one, Refused)}
    assert any("`c.HEIC`" in reason and "Convert it to JPEG" in reason for reason in refused)
    assert len(refused) == 2
    assert told.said == ["3 files of other kinds were left out: 1 .txt, 1 .md, 1 without suffix."]
    answers = make(Echo()).predict(found.values())
    assert [one.error is None for one in answers] == [True, True, False, True, False]
    with pytest.raises(UsageError, match=r"It holds 1 \.md"):
        list(expand_inputs([folder / "empty"], TASK))


def test_links_to_folders_are_not_followed_round_and_round(folder):
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(list(expand_inputs([folder], TASK))) == 3


def test_standard_input_gives_paths(folder):
    many = [f"{folder}/é{number:05d}.png" for number in range(500)]  # longer than one read
    text = "\r\n".join([str(folder / "sub"), "", *many]).encode()
    found = names(expand_inputs(["-"], TASK, stdin=io.BytesIO(text)), folder)
    assert found == ["sub/c.gif", *(name.removeprefix(f"{folder}/") for name in many)]


def test_standard_input_gives_the_content_of_one_item():
    content = b"\x89PNG\r\n\x1a\n\0\0" + b"\xff" * 10_000
    assert list(expand_inputs(["-"], TASK, stdin=io.BytesIO(content))) == [("-", content)]


def test_empty_standard_input_is_a_wrong_call():
    with pytest.raises(UsageError, match="empty"):
        list(expand_inputs(["-"], TASK, stdin=io.BytesIO(b"")))
    with pytest.raises(UsageError, match="there is none"):
        list(expand_inputs(["-"], TASK))


# ---------------------------------------------------------------- answers as text

NAMED = [("a,b.png", CAT), ("u.png", UNSURE), ("x.png", BROKEN)]


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO("".join(predictor.as_csv(NAMED, ["cat", "dog"])))))
    assert rows[0] == {
        "input": "a,b.png",
        "label": "cat",
        "score": "0.750000",
        "error": "",
        "cat": "0.750000",
        "dog": "0.250000",
    }
    assert rows[1]["label"] == "(none of these)"
    assert rows[2]["error"] == BROKEN.error
    assert rows[2]["score"] == rows[2]["cat"] == rows[2]["label"] == ""


def test_csv_keeps_labels_apart_from_its_own_columns():
    header = "".join(predictor.as_csv([], ["label", "other"])).strip()
    assert header == "input,label,score,error,score:label,other"


def test_json_and_json_lines_agree():
    whole = json.loads("".join(predictor.as_json(NAMED)))
    lines = [json.loads(line) for line in "".join(predictor.as_jsonl(NAMED)).splitlines()]
    assert whole == lines
    assert whole[0] == {"input": "a,b.png", "label": "cat", "score": 0.75, "scores": {"cat": 0.75, "dog": 0.25}}
    assert whole[1]["label"] is None
    assert whole[2] == {"input": "x.png", "error": BROKEN.error}
    assert json.loads("".join(predictor.as_json([]))) == []


def test_several_labels():
    assert predictor.as_dict("m.png", MANY)["labels"] == ["red", "round"]
    assert "red|round" in "".join(predictor.as_csv([("m.png", MANY)], ["red", "round", "old"]))


def test_table_lines_are_for_people():
    assert "".join(predictor.as_table(NAMED)).splitlines() == [
        "file     answer           best scores",
        "a,b.png  cat              cat 75.0%, dog 25.0%",
        "u.png    (none of these)  cat 50.0%, dog 50.0%",
        f"x.png    error            {BROKEN.error}",
    ]


def test_a_table_is_written_as_answers_come_and_to_the_end_of_what_came():
    def broken_off():
        yield from [("a.png", CAT)] * 40
        raise UsageError("no more")

    lines, found = predictor.as_table(broken_off()), []
    with pytest.raises(UsageError, match="no more"):
        found.extend(lines)
    assert len(found) == 41


def test_every_writer_takes_the_same_arguments():
    for write in predictor.WRITERS.values():
        assert "x.png" in "".join(write(NAMED, ["cat", "dog"]))


def test_each_row_of_a_table_has_its_answer(tmp_path):
    table = tmp_path / "texts.csv"
    table.write_text('text\n"one text, of words"\n""\n   \n\nanother text of words\na,b,c\n', encoding="utf-8")
    found = dict(expand_inputs([str(table)], "text-classification"))
    assert [name.rpartition("#")[2] for name in found] == ["2", "3", "4", "6", "7"]  # an empty line is none
    texts = [one.reason if isinstance(one, Refused) else one.text for one in found.values()]
    assert texts == [
        "one text, of words",
        "Row 3 of `texts.csv` has no text.",
        "Row 4 of `texts.csv` has no text.",
        "another text of words",
        "Row 7 of `texts.csv` is left out: it has 3 cells and the first line names 1 columns.",
    ]


def test_the_column_that_was_learned_from_is_answered_for(tmp_path):
    table = tmp_path / "both.csv"
    table.write_text("message,text,label\nhow is it going,a long text of many words,x\n", encoding="utf-8")
    told = Told()
    read = {"data": Data(text_column="message"), "progress": told}
    ((_, found),) = expand_inputs([str(table)], "text-classification", **read)
    assert found.text == "how is it going"
    assert told.said == ["The texts of `both.csv` are read from its column `message`."]
    ((_, found),) = expand_inputs([str(table)], "text-classification")
    assert found.text == "a long text of many words"


def test_a_first_line_that_may_be_a_text_is_said(tmp_path):
    table = tmp_path / "bare.csv"
    table.write_text(
        "I waited for two weeks\nIt came on the very next day\nIt broke when I opened it\n", encoding="utf-8"
    )
    told = Told()
    assert len(list(expand_inputs([str(table)], "text-classification", progress=told))) == 2
    assert told.said[0].startswith("The first line of `bare.csv` was read as names of columns, and not as a row.")


def test_lines_in_another_encoding_are_lines(tmp_path):
    lines = "déjà vu, très bien\nça ne va pas\n".encode("latin-1")
    told = Told()
    found = list(expand_inputs(["-"], "text-classification", stdin=io.BytesIO(lines), progress=told))
    assert [one.text for _, one in found] == ["déjà vu, très bien", "ça ne va pas"]
    assert "is not UTF-8; it was read as Windows-1252" in told.said[0]
    ((name, content),) = expand_inputs(["-"], "text-classification", stdin=io.BytesIO(b"PK\0\xff" + lines))
    assert (name, content) == ("-", b"PK\0\xff" + lines)


def test_large_inputs_are_answered_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(predictor, "_BATCH_BYTES", 1000)

    class Large(EchoProcessor):
        def encode(self, source, limits):
            return {"text": np.array(source.text), "wave": np.zeros(400, np.uint8)}

    task = Echo()
    answers = Predictor(task, model=None, processor=Large(), recipe=None).predict([str(n) for n in range(7)])
    assert [answer.text for answer in answers] == [str(n) for n in range(7)]
    assert task.sizes == [3, 3, 1]


def test_one_word_is_a_text_and_a_name_of_a_file_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("what stands in the file")
    found = dict(expand_inputs(["nul", "Super!", "here", "gone.txt", "away/it"], "text-classification"))
    assert [isinstance(one, Source) for one in found.values()] == [True, True, False, False, False]
    assert found["nul"].text == "nul"


def test_tables_in_a_folder_of_texts_are_answered_row_by_row(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\nthe first of all texts,1\nthe second of all texts,2\n")
    (tmp_path / "b.txt").write_text("a text")
    (tmp_path / "numbers.csv").write_text("n,m\n1,2\n")  # no texts, and no reason to stop
    found = dict(expand_inputs([str(tmp_path)], "text-classification"))
    assert list(found) == [f"{tmp_path}/{name}" for name in ("a.csv#2", "a.csv#3", "b.txt", "numbers.csv")]
    assert found[f"{tmp_path}/numbers.csv"].reason == (
        f"No column of {tmp_path}/numbers.csv holds texts. Its columns are: n, m."
    )


def test_an_empty_line_of_texts_has_its_answer():
    for lines in (b"one text\n\nanother\n", "un été\n\nanother".encode("latin-1")):
        found = [one for _, one in expand_inputs(["-"], "text-classification", stdin=io.BytesIO(lines))]
        assert [isinstance(one, Refused) for one in found] == [False, True, False]
