"""Large tables of texts: blocks of records that are read where they are needed, and never the table as a whole."""

import csv
import gc
import io
import json
import random
import tracemalloc
import zipfile

import pytest

import ouvroir
from ouvroir.data import large_tables
from ouvroir.data.large_tables import columns_of
from ouvroir.data.sources import read_source
from ouvroir.errors import DataError
from ouvroir.recipe import Data
from ouvroir.records import Cells
from ouvroir.row_groups import RowGroups
from ouvroir.source import Source, block_of, cells_of, name_of, records_locator, shown_locator

TASK = "text-generation"
WORDS = "the lamp sees a road and Zoë or nobody at night, 🙂 says the sea".split()


def made(n, seed=0):
    rng = random.Random(seed)
    return [
        f'{number} "{rng.choice(WORDS)}", ' + " ".join(rng.choices(WORDS, k=rng.randint(5, 60))) for number in range(n)
    ]


TEXTS = made(2000)
BROKEN_LINES = "{oops\n[1]\n\n" + json.dumps({"text": " "}) + "\n"


@pytest.fixture(autouse=True)
def threshold(monkeypatch):
    monkeypatch.setattr(large_tables, "LARGE_TABLE_BYTES", 20_000)


def json_lines(texts, **columns):
    rows = ({"text": text, **{name: values[n] for name, values in columns.items()}} for n, text in enumerate(texts))
    return "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(rows))


def separated(texts, delimiter=",", end="\n", names=("id", "text", "from"), **columns):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerow([*names, *columns])
    for n, text in enumerate(texts):
        writer.writerow([n, text, f"page {n}", *(values[n] for values in columns.values())])
    return file.getvalue()


def parquet(folder, texts, rows_a_group=700, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ids = list(range(len(texts)))
    parquet.write_table(
        pyarrow.table({"id": ids, "text": texts, **columns}), folder / "t.parquet", row_group_size=rows_a_group
    )
    return folder / "t.parquet"


def read(source, *, task=TASK, **settings):
    found = read_source(source, Data(**settings), task=task)
    ids = [one.id for one in (*found.candidates, *found.refused)]
    assert len(ids) == len(set(ids)) == found.found
    return found


def contents(found, split=None):
    """What the blocks hold, in the order of the rows of a manifest."""
    blocks = sorted((one for one in found.candidates if split in (None, one.split)), key=lambda one: one.id)
    assert all(one.text is None for one in blocks)
    return "\n".join(Source(found.root, one.locator).read(10**7).decode() for one in blocks)


def notes(found):
    return {note.code: note.text for note in found.notes}


# --- each text once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.tsv", "old.csv", "mac.csv", "wide.csv", "marked.jsonl"])
def test_all_texts_come_back_once_and_in_order(write, name):
    texts = [text + "\nand a second line" * (n % 5 == 0) for n, text in enumerate(TEXTS)]
    content = {
        "t.jsonl": json_lines(texts),
        "marked.jsonl": "\ufeff" + json_lines(texts).replace("\n", "\r\n"),
        "t.csv": separated(texts),
        "t.tsv": separated(texts, "\t"),
        "old.csv": separated(texts, end="\r\n"),
        "mac.csv": separated(texts).replace("\n", "\r"),
        "wide.csv": "\ufeffsep=;\n" + separated(texts, ";").rstrip(),
    }[name]
    found = read(write({name: content}) / name)
    assert contents(found) == "\n".join(texts)
    assert len(found.candidates) > 60
    assert not found.refused
    assert (
        f"the 2,000 records with a text of `{name}` are {len(found.candidates)} blocks"
        in notes(found)["table_in_blocks"]
    )
    sizes = [len(Source(found.root, one.locator).read(10**7)) for one in found.candidates]
    assert max(sizes) < 2 * sorted(sizes)[len(sizes) // 2]
    last = [Source(found.root, one.locator).is_last_block() for one in found.candidates]
    assert last == [False] * (len(last) - 1) + [True]


def test_parquet_is_read_in_slices_of_its_row_groups(folder, write):
    found = read(parquet(folder, TEXTS))
    assert contents(found) == "\n".join(TEXTS)
    assert len(found.candidates) > 60
    backwards = [Source(found.root, one.locator).read(10**7).decode() for one in reversed(found.candidates)]
    assert "\n".join(reversed(backwards)) == "\n".join(TEXTS)


@pytest.mark.parametrize("name", ["in/t.jsonl", "t.csv"])
def test_out_of_a_zip(folder, name):
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, json_lines(TEXTS) if "json" in name else separated(TEXTS))
    assert contents(read(folder / "a.zip")) == "\n".join(TEXTS)


def test_of_a_row_group_only_a_part_is_held(folder):
    pyarrow = pytest.importorskip("pyarrow")
    rng = random.Random(0)
    texts = [rng.randbytes(1500).hex() for _ in range(12_000)]
    path = parquet(folder, texts, rows_a_group=12_000)
    before = pyarrow.total_allocated_bytes()
    rows = RowGroups(path, ["text"]).rows(0, 12_000)
    assert next(rows) == (texts[0],)
    assert pyarrow.total_allocated_bytes() - before < 9_000_000
    assert [text for (text,) in rows] == texts[1:]


def test_a_large_parquet_file_in_a_zip_is_refused_with_what_to_do(folder):
    path = parquet(folder, TEXTS)
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(path, "t.parquet")
    with pytest.raises(DataError, match="Unpack the zip"):
        read(folder / "a.zip")


def test_a_small_table_is_as_it_was(write, monkeypatch):
    monkeypatch.setattr(large_tables, "LARGE_TABLE_BYTES", 10**9)
    found = read(write({"t.jsonl": json_lines(TEXTS)}) / "t.jsonl")
    assert [one.text for one in found.candidates] == TEXTS


def test_a_table_without_names_of_columns(write):
    rows = [[text, "good" if n % 2 else "bad"] for n, text in enumerate(TEXTS)]
    rows.insert(0, ["this is a first line that is a row", "good"])
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    found = read(write({"t.csv": file.getvalue()}) / "t.csv")
    assert [one.label for one in found.candidates[:2]] == ["good", "bad"], "labels keep the table whole"
    assert found.candidates[0].text == rows[0][0]


def test_columns_are_told_and_named(write):
    titles = [f"an even longer title of what is number {n}" * 3 for n in range(len(TEXTS))]
    folder = write({"t.jsonl": json_lines(TEXTS, title=titles)})
    assert columns_of(folder / "t.jsonl") == ["text", "title"]
    assert contents(read(folder / "t.jsonl")) == "\n".join(TEXTS)
    assert contents(read(folder / "t.jsonl", text_column="title")) == "\n".join(titles)
    with pytest.raises(DataError, match=r"no column `titel`.*`title`"):
        read(folder / "t.jsonl", text_column="titel")


# --- splits and groups ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mixed", "apart"])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_column_of_splits_is_kept_to(write, folder, how, form):
    rng = random.Random(3)
    splits = [rng.choice(["train"] * 8 + ["dev", "TEST"]) for _ in TEXTS]
    splits = splits if how == "mixed" else sorted(splits)
    if form == "parquet":
        path = parquet(folder, TEXTS, split=splits)
    else:
        content = json_lines(TEXTS, split=splits) if form == "jsonl" else separated(TEXTS, split=splits)
        path = write({f"t.{form}": content}) / f"t.{form}"
    found = read(path)
    for name, split in (("train", "train"), ("dev", "validation"), ("TEST", "test")):
        wanted = [text for text, said in zip(TEXTS, splits, strict=True) if said == name]
        assert contents(found, split) == "\n".join(wanted)
    if how == "mixed":
        groups = {one.group: set() for one in found.candidates}
        for one in found.candidates:
            groups[one.group].add(one.split)
        assert all(len(there) == 1 for there in groups.values())


def test_tables_of_splits(write):
    folder = write({f"{split}.jsonl": json_lines(made(500, seed)) for seed, split in enumerate(["train", "test"])})
    found = read(folder)
    assert contents(found, "train") == "\n".join(made(500, 0))
    assert contents(found, "test") == "\n".join(made(500, 1))


def test_parts_of_a_corpus_are_read_together(write):
    parts = {"train-0": made(500, 0), "train-1": made(500, 1), "test-0": made(400, 2), "train-2": made(3, 3)}
    folder = write({f"{name}.jsonl": json_lines(texts) for name, texts in parts.items()})
    found = read(folder)
    assert contents(found, "test") == "\n".join(parts["test-0"])
    texts = [one.text or Source(found.root, one.locator).read(10**7).decode() for one in found.candidates]
    assert sorted("\n".join(texts).split("\n")) == sorted(text for part in parts.values() for text in part)
    write({"other.jsonl": json_lines(made(400, 4), more=list(range(400)))})
    more = read(folder)
    assert sum(one.split is None for one in more.candidates) > 0, "a table with other columns is a part too"
    assert len(more.candidates) > len(found.candidates)


def groups_of(found):
    where = {}
    for one in found.candidates:
        for line in Source(found.root, one.locator).read(10**7).decode().split("\n"):
            where.setdefault(int(line.split()[0]), set()).add(one.group)
    return where


@pytest.mark.parametrize("longest", [9, 200])
def test_rows_of_a_group_are_in_blocks_that_stay_together(write, longest):
    rng = random.Random(4)
    books = []
    while len(books) < len(TEXTS):
        books += [f"book {len(books)}"] * rng.randint(1, longest)
    books = books[: len(TEXTS)]
    found = read(write({"t.csv": separated(TEXTS, book=books)}) / "t.csv", group_column="book")
    assert contents(found) == "\n".join(TEXTS)
    where = groups_of(found)
    of_book = {}
    for number, book in enumerate(books):
        of_book.setdefault(book, set()).update(where[number])
    assert all(len(groups) == 1 for groups in of_book.values())
    assert len({one.group for one in found.candidates}) > 5


def test_a_group_that_comes_again_joins_what_lies_far_apart(write):
    books = ["a"] * 20 + [f"book {n // 9}" for n in range(len(TEXTS) - 40)] + ["a"] * 20
    found = read(write({"t.csv": separated(TEXTS, book=books)}) / "t.csv", group_column="book")
    where = groups_of(found)
    assert where[0] == where[1999] != where[1000]


def test_groups_that_lie_scattered_are_told(write):
    users = [f"user {n % 30}" for n in range(len(TEXTS))]
    folder = write({"t.csv": separated(TEXTS, user=users)})
    with pytest.raises(DataError, match="sort it by `user`"):
        read(folder / "t.csv", group_column="user")


# --- what is broken ---------------------------------------------------------------------------------------------------


def test_records_that_are_none_are_told_with_their_lines(write):
    lines = json_lines(TEXTS).split("\n")
    lines[100:100] = BROKEN_LINES.split("\n")[:4]
    lines.append('{"text": "cut off')
    found = read(write({"t.jsonl": "\n".join(lines)}) / "t.jsonl")
    assert contents(found) == "\n".join(TEXTS)
    assert {one.id: one.code for one in found.refused} == {
        "t.jsonl#101": "malformed_row",
        "t.jsonl#102": "malformed_row",
        "t.jsonl#104": "empty",
        "t.jsonl#2006": "malformed_row",
    }
    assert "it is not JSON" in found.refused[0].reason
    said = "Records of `t.jsonl` that are left out: 4. Not readable: 3, without a text: 1."
    assert notes(found)["records_left_out"] == said


def test_rows_of_csv_that_are_none_are_told_with_their_lines(write):
    lines = separated(TEXTS).split("\n")
    lines[50:50] = ["1,2,3,4,5", ",,", "7,,x", ""]
    lines[-1:] = ['9,"never closed', "3,fine,x", ""]
    found = read(write({"t.csv": "\n".join(lines)}) / "t.csv")
    assert contents(found) == "\n".join([*TEXTS, "fine"])
    reasons = {one.id: one.reason for one in found.refused}
    assert list(reasons) == ["t.csv#51", "t.csv#52", "t.csv#53", "t.csv#2006"]
    assert "it has 5 cells and the first line names 3 columns" in reasons["t.csv#51"]
    assert "quote that is never closed" in reasons["t.csv#2006"]


def test_a_quote_that_does_not_close_for_long_costs_one_row(write, monkeypatch):
    monkeypatch.setattr("ouvroir.records.LONGEST_RECORD", 5000)
    lines = separated([text.replace('"', "") for text in TEXTS]).replace('"', "").split("\n")
    rows = [f"{n},{' '.join(WORDS[:9])} {n},page" for n in range(2000)]
    lines = [lines[0], *rows[:1000], '1000,"open,page', *rows[1000:], "x" * 9000, "last,one more text of words,x"]
    found = read(write({"t.csv": "\n".join(lines)}) / "t.csv")
    assert contents(found) == "\n".join([row.split(",")[1] for row in rows] + ["one more text of words"])
    reasons = [one.reason for one in found.refused]
    assert "never closed within 5.0 kB" in reasons[0]
    assert "longer than 5.0 kB" in reasons[1]


def test_a_line_that_is_too_long_is_told(write, monkeypatch):
    monkeypatch.setattr("ouvroir.records.LONGEST_RECORD", 5000)
    long = json.dumps({"text": "x" * 2_500_000})
    content = json_lines(TEXTS[:900]) + long + "\n" + json_lines(TEXTS[900:])
    found = read(write({"t.jsonl": content}) / "t.jsonl")
    assert contents(found) == "\n".join(TEXTS)
    assert [one.id for one in found.refused] == ["t.jsonl#901"]


def test_of_very_many_broken_records_the_first_are_listed_and_all_are_counted(write, monkeypatch):
    monkeypatch.setattr(large_tables, "REFUSALS_LISTED", 10)
    content = "".join(f"{line}\n{{oops\n" for line in json_lines(TEXTS).splitlines())
    found = read(write({"t.jsonl": content}) / "t.jsonl")
    assert contents(found) == "\n".join(TEXTS)
    assert [one.id for one in found.refused] == [f"t.jsonl#{2 * n}" for n in range(1, 11)]
    assert "Records of `t.jsonl` that are left out: 2,000." in notes(found)["records_left_out"]
    assert "The first 10 are listed" in notes(found)["records_left_out"]


def test_a_very_long_text_is_a_block_of_its_own(write):
    texts = [*TEXTS[:1000], "word " * 40_000, *TEXTS[1000:]]
    found = read(write({"t.jsonl": json_lines(texts)}) / "t.jsonl")
    sizes = [len(Source(found.root, one.locator).read(10**7)) for one in found.candidates]
    assert sorted(sizes)[-1] == 200_000
    assert contents(found) == "\n".join(texts)


def test_another_encoding_is_told_and_one_of_two_or_four_bytes_refused(write):
    texts = [text.replace("🙂", "é") for text in TEXTS]
    wide = {name: separated(texts).encode(name) for name in ("utf-16", "utf-32", "utf-32-be")}
    folder = write({"t.csv": separated(texts).encode("cp1252"), **{f"{name}.csv": text for name, text in wide.items()}})
    found = read(folder / "t.csv")
    assert contents(found) == "\n".join(texts)
    assert "read as Windows-1252" in notes(found)["encoding"]
    for name in wide:
        with pytest.raises(DataError, match=f"is in {name[:6].upper()}.*Save it as UTF-8"):
            read(folder / f"{name}.csv")


def test_zero_bytes_are_left_out_and_told(write):
    content = json_lines(TEXTS).encode().replace(b"lamp", b"la\0mp")
    found = read(write({"t.jsonl": content}) / "t.jsonl")
    assert contents(found) == "\n".join(TEXTS)
    assert "null_bytes" in notes(found)


# --- memory and looks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_the_table_is_never_held(folder, write, form):
    texts = [f"{n} {n * n} " + "so much is told of the road at night " * 70 for n in range(14_000)]
    path = parquet(folder, texts, rows_a_group=14_000) if form == "parquet" else folder / f"t.{form}"
    if form != "parquet":
        write({path.name: json_lines(texts) if form == "jsonl" else separated(texts)})
    n_bytes = sum(map(len, texts))
    del texts
    read(path)  # what is loaded once
    tracemalloc.start()
    found = read(path)
    gc.collect()  # what waits for it is not held
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.candidates) > 100
    assert n_bytes > 32_000_000
    assert peak < n_bytes / 6
    assert held < n_bytes / 30


def test_what_a_table_is_of_is_told_from_its_beginning(write, monkeypatch):
    folder = write({"t.jsonl": json_lines(TEXTS, number=list(range(2000)), place=[f"p{n}" for n in range(2000)])})

    def whole(*_, **__):
        raise AssertionError("the table was read whole")

    monkeypatch.setattr(large_tables, "open_table", whole)
    monkeypatch.setattr("ouvroir.data.opened_tables.open_table", whole)
    with pytest.raises(DataError, match="holds texts, but no column is named like a label"):
        read(folder / "t.jsonl", task="text-classification")
    assert read(folder / "t.jsonl", task=None).task == TASK
    assert read(folder / "t.jsonl").candidates
    assert read(folder).candidates


def test_where_labels_are_wanted_a_table_is_read_as_a_whole(write):
    folder = write({"t.jsonl": json_lines(TEXTS, label=[str(n % 2) for n in range(len(TEXTS))])})
    for task in (TASK, "text-classification", None):
        found = read(folder / "t.jsonl", task=task)
        assert [one.text for one in found.candidates] == TEXTS
        assert {one.label for one in found.candidates} == {"0", "1"}


def test_what_each_text_came_from_is_no_label(write):
    folder = write({"t.jsonl": json_lines(TEXTS, url=[f"https://example.org/{n}" for n in range(len(TEXTS))])})
    assert {one.label for one in read(folder / "t.jsonl").candidates} == {None}
    nested = [{"set": "web"} if n % 2 else {"set": "books"} for n in range(len(TEXTS))]
    folder = write({"m.jsonl": json_lines(TEXTS, meta=nested)})
    assert {one.label for one in read(folder / "m.jsonl").candidates} == {None}


# --- locators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["text", "a/b", "x::y", "me@1+2", "é & ?=", "", "100%"])
def test_locators_of_records(column):
    cells = Cells(column, split="set", of="train", is_last=True)
    locator = records_locator("a.zip::in/t.jsonl", 10, 20, cells)
    assert block_of(locator) == ("a.zip::in/t.jsonl", (10, 20))
    assert cells_of(locator) == cells
    assert shown_locator(locator) == "a.zip::in/t.jsonl"
    assert name_of(locator) == "t.jsonl"
    of_csv = Cells("2", delimiter="\t", width=3)
    assert cells_of(records_locator("t.csv", 0, 1, of_csv)) == of_csv


def test_other_locators_are_not_of_records():
    for locator in ("a?text=b.txt", "t.jsonl?text=b", "notes@1+2?text=a.txt", "a.jsonl@1+2"):
        assert cells_of(locator) is None


# --- to the end -------------------------------------------------------------------------------------------------------


QUICK = {"loop.steps": 3, "loop.threads": 1, "loop.micro_batch": 8, "loop.batch_size": 8, "options.context": 32}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_checked_trained_and_found_changed(write, folder, tmp_path, form):
    path = (
        parquet(folder, TEXTS) if form == "parquet" else write({"t.jsonl": json_lines(TEXTS) + "{oops\n"}) / "t.jsonl"
    )
    manifest = ouvroir.check(path, task=TASK)
    assert len(manifest.rows) > 60
    assert len(manifest.refused) == (form == "jsonl")
    assert all(row.text is None for row in manifest.rows)
    shares = {split: len(manifest.positions(split)) / len(manifest.rows) for split in ("train", "validation", "test")}
    assert 0.03 < shares["validation"] < 0.2
    assert 0.03 < shares["test"] < 0.2
    groups = {}
    for row in manifest.rows:
        groups.setdefault(row.group, set()).add(row.split)
    assert all(len(splits) == 1 for splits in groups.values())
    settings = {"task": TASK, "preset": "tiny", "runs": tmp_path / "runs"}
    run = ouvroir.train(path, settings=QUICK, **settings)
    assert run.state == "finished"
    assert run.read_json("evaluation.json")["test"]["nats_per_character"]["value"] > 0
    assert ouvroir.check(path, task=TASK).fingerprint == manifest.fingerprint


def test_packing_says_when_a_record_changed(write, tmp_path):
    from ouvroir.data.pack import build_pack
    from ouvroir.media import find_task
    from ouvroir.recipe import Recipe

    path = write({"t.jsonl": json_lines(TEXTS)}) / "t.jsonl"
    manifest = ouvroir.check(path, task=TASK)
    task = find_task(TASK)
    processor = task.fit_processor(manifest, Recipe(task=TASK, options=task.Options()))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1000 ", b"2000 ", 1))
    with pytest.raises(DataError, match=r"`t.jsonl` has changed since it was checked.*ouvroir check"):
        build_pack(manifest, processor, packs=tmp_path / "packs", workers=1)
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match=r"has changed since it was checked"):
        build_pack(manifest, processor, packs=tmp_path / "other", workers=1)
    path.write_bytes(content)
    build_pack(manifest, processor, packs=tmp_path / "packs", workers=1)
