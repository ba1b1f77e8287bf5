"""Predictor: a task, a model and a processor, ready to answer; and what the `predict` command needs around it.

`load` opens a run, a bundle or a run's name. `expand_inputs` turns folders and standard input into single inputs;
`as_table`, `as_csv`, `as_json` and `as_jsonl` turn answers into text, piece by piece, so that any number fits in memory.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

from ouvroir import bundle as bundles
from ouvroir.data.candidates import not_of_a_kind
from ouvroir.data.columns import find_text, head_in_doubt
from ouvroir.data.listing import is_sequence
from ouvroir.data.tabular import TABLE_SUFFIXES, decode_text, open_table
from ouvroir.errors import DataError, MissingExtra, OuvroirError, Refused, RunError, UsageError
from ouvroir.files import natural, readable_count
from ouvroir.media import advice_on, find_task, readable_suffixes, sequences_of, suffixes_of
from ouvroir.options import Workplace, answers
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Data
from ouvroir.records import as_text
from ouvroir.run import DEFAULT_ROOT, Run
from ouvroir.sampling import Sampling
from ouvroir.source import Source, source_of
from ouvroir.task import NO_WRITER, Example, Input, Limits, Prediction, Processor, Task, Writer

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.recipe import Recipe

STANDARD_INPUT = "-"
NONE_OF_THESE = "(none of these)"
Threshold = float | Literal["auto"]
_SNIFFED_BYTES = 4096
_BATCH_BYTES = 256 * 1024**2
_NAME_CHARACTERS, _NAME_BLANKS = 60, 5  # of a text in the table; what has more blanks is no name of a file
_TABLE_COLUMNS = ("file", "answer", "best scores")
_TABLE_LABELS = 3
_TABLE_ROWS = 32  # answers whose columns are measured together: they come by the batch


@dataclass(frozen=True)
class Predictor:
    """A model that answers. May be used by several threads at once.

    `threshold` is the score under which the answer is 'none of these': 0 always answers. `proposed_threshold` is the one
    that kept 95 % of the right answers on validation data (0: there is none); "auto" stands for it. `limits` are what one
    input may cost; time and memory hold only where worker processes open it.
    """

    task: Task
    model: nn.Module
    processor: Processor
    recipe: Recipe
    device: str = "cpu"
    threshold: float = 0.0
    proposed_threshold: float = 0.0
    limits: Limits = field(default_factory=Limits)

    def __repr__(self) -> str:
        """Its task, the classes that it knows, and where it works."""
        n = len(self.labels)
        known = f", {readable_count(n, 'class', 'classes')}" if n else ""
        return f"<Predictor {self.recipe.task}{known}, on {self.device}>"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names it can answer with."""
        return tuple(self.processor.labels)

    def predict(
        self,
        inputs: Iterable[Input],
        *,
        batch_size: int = 32,
        threshold: Threshold | None = None,
        workers: int | None = 0,
    ) -> list[Prediction]:
        """One Prediction per input, in the same order; an unreadable input gives one with `error` and stops nothing.

        With `workers` 0 inputs are opened here, at once, which suits single ones and those in memory. Otherwise as many
        processes (None: one per core) are started for this call and open them: faster for many files, and one that
        crashes its decoder or takes longer than `limits` allow costs its own answer only.
        """
        return list(self.each(inputs, batch_size=batch_size, threshold=threshold, workers=workers))

    def each(
        self,
        inputs: Iterable[Input],
        *,
        batch_size: int = 32,
        threshold: Threshold | None = None,
        workers: int | None = 0,
    ) -> Iterator[Prediction]:
        """As `predict`, one by one: inputs are taken as they are needed, so that neither side need fit in memory.

        Raises UsageError on a batch size, threshold or number of workers out of range, or a single path given for a list.
        """
        if isinstance(inputs, str | bytes | Path):
            raise UsageError("Give a list of inputs: predict([one]) instead of predict(one).")
        if batch_size < 1:
            raise UsageError("The batch size must be at least 1.")
        if workers is not None and workers < 0:
            raise UsageError("The number of workers must be 0, for this process alone, or more.")
        return self._answers(iter(inputs), batch_size, self.checked(threshold), workers)

    @overload
    def write(self, prompts: str, *, how: Sampling | None = None, label: str | None = None, seed: int = 0) -> str: ...

    @overload
    def write(
        self,
        prompts: list[str] | tuple[str, ...],
        *,
        how: Sampling | None = None,
        label: str | None = None,
        seed: int = 0,
    ) -> list[str]: ...

    def write(
        self,
        prompts: str | list[str] | tuple[str, ...],
        *,
        how: Sampling | None = None,
        label: str | None = None,
        seed: int = 0,
    ) -> str | list[str]:
        """What a model of texts writes after a prompt, or after each of several; as `stream`, all at once."""
        given = _texts(prompts)
        found = [""] * len(given)
        for place, text in self.stream(given, how=how, label=label, seed=seed):
            found[place] += text
        return found[0] if isinstance(prompts, str) else found

    def stream(
        self,
        prompts: str | Sequence[str],
        *,
        how: Sampling | None = None,
        label: str | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[int, str]]:
        """Which prompt, and what a model of texts writes after it, as it comes. The same seed gives the same text.

        A string of `how.stops` ends it and is not given, nor what comes after it. Raises UsageError where the model writes
        no texts, or does not know the class.
        """
        if not isinstance(self.task, Writer):
            raise UsageError(NO_WRITER)
        given = _texts(prompts)
        return self.task.write(
            self.model,
            self.processor,
            self.recipe,
            given,
            how=how or Sampling(),
            label=label,
            seed=seed,
            device=self.device,
        )

    def checked(self, threshold: Threshold | None) -> float:
        """The threshold to use; None is its own. Raises UsageError."""
        if threshold is None:
            return self.threshold
        if threshold == "auto":
            if not self.proposed_threshold:
                raise UsageError(
                    "This model proposes no threshold: it was made without validation data. Give a number."
                )
            return self.proposed_threshold
        if not 0 <= threshold <= 1:
            raise UsageError(f"The threshold must be between 0 and 1, not {threshold:g}.")
        return threshold

    def _answers(
        self, inputs: Iterator[Input], batch_size: int, threshold: float, workers: int | None
    ) -> Iterator[Prediction]:
        broken_off: list[OuvroirError] = []

        def coming() -> Iterator[Input]:  # what came before the list of inputs breaks off is answered
            try:
                yield from inputs
            except OuvroirError as error:
                broken_off.append(error)

        encoded = self._encoded_here(coming()) if workers == 0 else self._encoded_by_workers(coming(), workers)
        with closing(encoded):
            for batch in _batches(encoded, batch_size):
                yield from self._answer(batch, threshold)
        if broken_off:
            raise broken_off[0]

    def _answer(self, batch: Sequence[Example | str], threshold: float) -> Iterator[Prediction]:
        """Answers for encoded inputs and sentences on those that could not be read, in order."""
        examples = [one for one in batch if not isinstance(one, str)]
        found: list[Prediction] = []
        if examples:
            found = self.task.predict(
                self.model, self.processor, self.recipe, examples, device=self.device, threshold=threshold
            )
        assert len(found) == len(examples)
        answers = iter(found)
        return (Prediction(error=one) if isinstance(one, str) else next(answers) for one in batch)

    def _source(self, given: Input | Refused) -> Source:
        """Raises Refused for what was refused before it was opened, and for what the task refuses."""
        if isinstance(given, Refused):
            raise given
        return self.task.as_source(given)

    def _encoded_here(self, inputs: Iterator[Input]) -> Generator[Example | str, None, None]:
        processor = self.processor.to_answer()
        for given in inputs:
            try:
                yield processor.encode(self._source(given), self.limits)
            except OuvroirError as error:
                yield str(error)

    def _encoded_by_workers(self, inputs: Iterator[Input], workers: int | None) -> Generator[Example | str, None, None]:
        from ouvroir.data.workers import Job, encoders, n_workers

        sentences: deque[str | None] = deque()  # for each input taken and not passed on: why there is no job for it

        def jobs() -> Iterator[Job]:
            for given in inputs:
                try:
                    source = self._source(given)
                except OuvroirError as error:
                    sentences.append(str(error))
                    continue
                sentences.append(None)
                yield Job(source.locator, source.text, root=source.root, content=source.content)

        with encoders(self.recipe.task, self.processor.to_answer(), self.limits, n_workers(workers), root="") as pool:
            for done in pool.run(jobs()):
                while (sentence := sentences.popleft()) is not None:
                    yield sentence
                yield done.example() if done.refused is None else done.refused[1]
        yield from (sentence for sentence in sentences if sentence is not None)


def _texts(prompts: str | Sequence[str]) -> list[str]:
    """One prompt or several as a list. Raises UsageError for what is no text."""
    given = [prompts] if isinstance(prompts, str) or not isinstance(prompts, Iterable) else list(prompts)
    if wrong := next((type(one).__name__ for one in given if not isinstance(one, str)), None):
        raise UsageError(
            f'A prompt is a text, and not of type {wrong}. Give one, or a list of several: write("A beginning").'
        )
    return given


def load(source: str | Path, *, device: str | None = None, runs: str | Path = DEFAULT_ROOT) -> Predictor:
    """A Predictor from a run folder, a bundle, a place in `runs` (the name of a run, `NAME/base`), or `last`.

    A run that is not finished answers with its best checkpoint. Raises RunError, CheckpointError, DeviceError.
    """
    from ouvroir.training.checkpoint import check_hashes, load_model, read_recipe
    from ouvroir.training.device import find_device

    place = find_device(device or "auto")
    folder, run = model_folder(source, runs=runs)
    proposed = 0.0
    if bundles.is_bundle(folder):
        bundle = bundles.load_bundle(folder)
        name, proposed = bundle.task, bundle.threshold
    else:
        check_hashes(folder)
        name = read_recipe(folder).task
    task = find_task(name)
    model, processor, recipe = load_model(task, folder, device=place)
    # a run knows where its data are; a bundle that travels does not
    settled = run.recipe() if run else recipe
    return Predictor(task, model, processor, settled, place, proposed_threshold=proposed, limits=task.limits)


def _batches(encoded: Iterator[Example | str], size: int) -> Iterator[list[Example | str]]:
    """At most `size` encoded inputs at a time, and fewer where they are large: one may be an hour of a recording."""
    batch: list[Example | str] = []
    n_bytes = 0
    for one in encoded:
        batch.append(one)
        n_bytes += 0 if isinstance(one, str) else sum(array.nbytes for array in one.values())
        if len(batch) == size or n_bytes >= _BATCH_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def model_folder(source: str | Path, *, runs: str | Path = DEFAULT_ROOT) -> tuple[Path, Run | None]:
    """The bundle or checkpoint folder that `source` stands for, and its run if it names one. Raises RunError."""
    path = Path(Workplace(Path(runs)).place_of(str(source), answers))
    if (path / "model.safetensors").is_file():
        return path, None
    try:
        run = Run.open(path)
    except RunError as error:
        if path.exists():
            raise
        raise RunError(f"There is no run or model at `{source}`. `ouvroir runs` lists the runs.") from error
    return run.bundle if bundles.is_bundle(run.bundle) else run.checkpoint("best"), run


# ---------------------------------------------------------------- inputs


def expand_inputs(
    paths: Iterable[str | Path],
    task: str,
    *,
    data: Data | None = None,
    stdin: BinaryIO | None = None,
    progress: Progress = QUIET,
) -> Iterator[tuple[str, Input]]:
    """(name, input) of every file of `task` that `paths` stand for, one at a time and in a stable order.

    A folder stands for the files below it, links to folders not followed; `-` for `stdin`: either one path a line, or,
    when it is not text, the content of one item. A file that is named is given as it is, so that its Prediction says what
    is wrong with it. In a folder, a file of the medium that the task does not read comes as a Refused with its reason; all
    others are counted by their suffix, and said at the end. Where the task reads texts, several words or a word without suffix are
    a text themselves if they name no file, a line of `stdin` that names none too, and a table stands for the texts in it, of the
    column that `data` names, how the model's own data were read, where it has one of that name. Raises UsageError for a folder
    without a single file to tell of, and for a table that is named and holds no texts, DataError for one that cannot be read.
    """
    others: Counter[str] = Counter()
    asked = _Asked(task, data or Data(), others, progress)
    for path in paths:
        if str(path) == STANDARD_INPUT:
            if stdin is None:
                raise UsageError("`-` stands for standard input, and there is none.")
            yield from _from_stream(stdin, asked)
        else:
            yield from _from_path(path, asked)
    if n := others.total():
        files = "1 file of another kind was" if n == 1 else f"{n:,} files of other kinds were"
        progress.say(f"{files} left out: {_by_suffix(others)}.")


@dataclass(frozen=True)
class _Asked:
    """What inputs are expanded for. others: files of other kinds in folders, by suffix."""

    task: str
    data: Data
    others: Counter[str]
    progress: Progress


def _by_suffix(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in counts.most_common())


def _from_path(given: str | Path, asked: _Asked, *, is_line: bool = False) -> Iterator[tuple[str, Input]]:
    path, is_text = Path(given), find_task(asked.task).reads_text
    if _is_folder(path):
        yield from _from_folder(path, asked)
    elif is_text and path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        yield from _texts_of(path, asked)
    elif is_text and isinstance(given, str) and (is_line or _may_be_text(given)) and not _is_there(path):
        yield " ".join(given.split()), Source(root="", locator="", text=given)
    else:
        yield str(path), path


def _from_folder(path: Path, asked: _Asked) -> Iterator[tuple[str, Input]]:
    task, suffixes = asked.task, suffixes_of(asked.task)
    found = False
    here: Counter[str] = Counter()
    for folder, folders, names in os.walk(path):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        if is_sequence(names, sequences_of(task), suffixes):
            found = True
            yield folder, Path(folder)
            continue
        for name in sorted((name for name in names if not name.startswith(".")), key=natural):
            inputs = _from_file(Path(folder) / name, asked)
            found |= bool(inputs)
            here[Path(name).suffix.lower()] += not inputs
            yield from inputs
    if not found:
        wanted = ", ".join(readable_suffixes(suffixes)) or "any file"
        holds = f" It holds {_by_suffix(+here)}." if +here else ""
        raise UsageError(f"There is no file to answer for in {path}.{holds} Looked for: {wanted}.")
    asked.others.update(+here)


def _from_file(file: Path, asked: _Asked) -> list[tuple[str, Input]]:
    """What a file in a folder stands for: itself, the texts of a table, why it is not read, or nothing, being of another kind."""
    task, suffix = asked.task, file.suffix.lower()
    if find_task(task).reads_text and suffix in TABLE_SUFFIXES:
        try:
            return list(_texts_of(file, asked))
        except UsageError as error:  # it holds no texts
            return [(str(file), Refused("not_readable_here", str(error)))]
        except (DataError, MissingExtra) as error:
            return [(str(file), Refused("unreadable", str(error)))]
    suffixes = suffixes_of(task)
    if not suffixes or suffix in suffixes:
        return [(str(file), file)]
    if advice_on(suffix, task):
        return [(str(file), Refused("not_readable_here", not_of_a_kind(file.name, suffix, task)))]
    return []


def _may_be_text(given: str) -> bool:
    """Whether what names no file is a text: several words, or one that no file would be called."""
    return " " in given or not (os.sep in given or "/" in given or Path(given).suffix)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text is no name of a file, and may be too long for one
        return False


def _is_folder(path: Path) -> bool:
    return _is_there(path) and path.is_dir()


def _texts_of(path: Path, asked: _Asked) -> Iterator[tuple[str, Input]]:
    """The texts of a table, named by their rows."""
    table = open_table(source_of(path))
    named = asked.data.text_column
    column = table.columns.index(named) if named in table.columns else find_text(table, besides=asked.data.label_column)
    if column is None:
        raise UsageError(f"No column of {path} holds texts. Its columns are: {', '.join(table.columns)}.")
    for note in table.notes:
        asked.progress.say(note.text)
    if len(table.columns) > 1:
        asked.progress.say(f"The texts of `{path.name}` are read from its column `{table.columns[column]}`.")
    if doubt := head_in_doubt(table, column):
        asked.progress.say(doubt)
    rows: list[tuple[int, Input]] = [
        (number, Refused("malformed_row", f"Row {number} of `{path.name}` is left out: {reason}."))
        for number, reason in table.broken
    ]
    for number, cells in zip(table.numbers, table.values, strict=True):
        text = as_text(cells[column])
        empty = Refused("empty", f"Row {number} of `{path.name}` has no text.")
        rows.append((number, Source(root="", locator="", text=text) if text.strip() else empty))
    for number, found in sorted(rows, key=lambda row: row[0]):
        yield f"{path}#{number}", found


def _from_stream(stream: BinaryIO, asked: _Asked) -> Iterator[tuple[str, Input]]:
    start = stream.read(_SNIFFED_BYTES)
    if not start:
        raise UsageError("Standard input is empty. Give one path a line, or the content of one file.")
    if not _is_text(start):
        content = start + stream.read()
        if not find_task(asked.task).reads_text or b"\0" in start:
            yield STANDARD_INPUT, content
            return
        text, notes = decode_text("standard input", content)  # lines in another encoding
        for note in notes:
            asked.progress.say(note.text)
        for line in text.removesuffix("\n").split("\n"):
            yield from _from_line(line, asked)
        return
    rest = start
    while rest:
        *lines, tail = rest.split(b"\n")
        for one in lines:
            yield from _from_line(os.fsdecode(one), asked)
        more = stream.read(_SNIFFED_BYTES)
        if not more and tail:
            yield from _from_line(os.fsdecode(tail), asked)
        rest = tail + more if more else b""


def _from_line(line: str, asked: _Asked) -> Iterator[tuple[str, Input]]:
    name = line.rstrip("\r")
    if name.strip():
        yield from _from_path(name, asked, is_line=True)
    elif find_task(asked.task).reads_text:
        yield "", Refused("empty", "The text is empty.")


def _is_text(start: bytes) -> bool:
    """Whether bytes can be lines of paths: no NUL, and UTF-8 up to a character that the cut may have split."""
    if b"\0" in start:
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.end == len(start)
    return True


# ---------------------------------------------------------------- answers as text

Named = tuple[str, Prediction]


def as_dict(name: str, prediction: Prediction) -> dict[str, Any]:
    """Plain JSON values: `input`, then either `error` or `label`, `labels` (multi-label), `score`, `scores`, `times`, `text`."""
    if prediction.error is not None:
        return {"input": name, "error": prediction.error}
    value: dict[str, Any] = {"input": name}
    if prediction.scores:
        value |= {"label": prediction.label, "score": _score(prediction)}
        if prediction.labels:
            value["labels"] = list(prediction.labels)
        value["scores"] = {label: round(score, 6) for label, score in prediction.scores.items()}
    if prediction.times:
        value["times"] = [dataclasses.asdict(one) for one in prediction.times]
    if prediction.text is not None:
        value["text"] = prediction.text
    if prediction.mime is not None:
        value["mime"] = prediction.mime
    return value


def as_csv(named: Iterable[Named], labels: Sequence[str]) -> Iterator[str]:
    """Lines of CSV: input, label, score, error, then the score of each label in a column of its own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    taken = ("input", "label", "score", "error")
    writer.writerow([*taken, *(f"score:{label}" if label in taken else label for label in labels)])
    for name, prediction in named:
        score = "" if prediction.error or not prediction.scores else f"{_score(prediction):.6f}"
        columns = [f"{prediction.scores[label]:.6f}" if label in prediction.scores else "" for label in labels]
        writer.writerow([name, answer_of(prediction), score, prediction.error or "", *columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    if buffer.getvalue():
        yield buffer.getvalue()


def as_jsonl(named: Iterable[Named]) -> Iterator[str]:
    """One JSON object a line."""
    for name, prediction in named:
        yield json.dumps(as_dict(name, prediction), ensure_ascii=False) + "\n"


def as_json(named: Iterable[Named]) -> Iterator[str]:
    """One JSON array, written as the answers come."""
    before = "[\n"
    for name, prediction in named:
        yield before + "  " + json.dumps(as_dict(name, prediction), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_table(named: Iterable[Named]) -> Iterator[str]:
    """Lines for a person, in columns under a header: the input, the answer, and the best scores or why there is none.

    Columns are as wide as the answers so far need, taken some at a time.
    """
    widths = [0] * len(_TABLE_COLUMNS)
    waiting: list[tuple[str, ...]] = []
    try:
        for place, (name, prediction) in enumerate(named):
            waiting += [_TABLE_COLUMNS] if place == 0 else []
            waiting.append(_table_row(name, prediction))
            if len(waiting) > _TABLE_ROWS:
                yield from _aligned(waiting, widths)
                waiting = []
    except (OuvroirError, KeyboardInterrupt):  # what came before it is told
        yield from _aligned(waiting, widths)
        raise
    yield from _aligned(waiting, widths)


def _table_row(name: str, prediction: Prediction) -> tuple[str, ...]:
    if len(name) > _NAME_CHARACTERS and name.count(" ") > _NAME_BLANKS:  # a text is its own name
        name = f"{name[: _NAME_CHARACTERS - 1]}…"
    if prediction.error is not None:
        return name, "error", prediction.error
    best = [f"{label} {score:.1%}" for label, score in itertools.islice(prediction.scores.items(), _TABLE_LABELS)]
    return name, answer_of(prediction) or prediction.text or "", ", ".join(best)


def _aligned(rows: Sequence[tuple[str, ...]], widths: list[int]) -> Iterator[str]:
    """Lines of the rows, whose columns are at least as wide as `widths`, which grow with them."""
    widths[:] = [max([width, *(len(row[place]) for row in rows)]) for place, width in enumerate(widths)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


WRITERS: dict[str, Callable[[Iterable[Named], Sequence[str]], Iterator[str]]] = {
    "table": lambda named, labels: as_table(named),  # noqa: ARG005 -- one signature for all
    "csv": as_csv,
    "json": lambda named, labels: as_json(named),  # noqa: ARG005
    "jsonl": lambda named, labels: as_jsonl(named),  # noqa: ARG005
}


def answer_of(prediction: Prediction) -> str:
    """The label, or several, or that there is none of these."""
    if prediction.labels:
        return "|".join(prediction.labels)
    if prediction.label is not None:
        return prediction.label
    return NONE_OF_THESE if prediction.scores else ""


def _score(prediction: Prediction) -> float:
    """The score of the answer, or of the label that came closest."""
    if prediction.label in prediction.scores:
        return round(prediction.scores[str(prediction.label)], 6)
    return round(max(prediction.scores.values()), 6)
