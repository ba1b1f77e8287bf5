"""What the command line shows: progress on standard error, tables and sentences on standard output.

Only `cli` uses this. Rich draws; on a pipe there are plain lines and no moving bars.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ouvroir.files import readable_count, readable_duration, readable_names, readable_size
from ouvroir.media import find_task
from ouvroir.options import Language
from ouvroir.progress import QUIET, Bar, LineBar
from ouvroir.progress import Progress as ProgressProtocol
from ouvroir.run import no_runs
from ouvroir.source import shown_locator
from ouvroir.task import Note, Refusal, Synthesiser, Writer, options_of

if TYPE_CHECKING:
    from ouvroir.cache import CacheEntry, RunEntry
    from ouvroir.data.manifest import Manifest
    from ouvroir.doctor import Finding
    from ouvroir.exporting import ExportResult

N_REFUSALS_SHOWN = 3  # of each kind
N_CLASSES_SHOWN = 20
MOST_WRITTEN = 300  # characters that are shown of a text of a model's own
PIPE_WIDTH = 1000
EVALUATED = {
    "compare {model} OTHER {judged}": "sets another model against it on the same files",
    "finetune {model} {data}": "goes on learning from them",
}
CLOSING: dict[Language, dict[str, Any]] = {
    "en": {
        "report": "report",
        "model": "model",
        "run": "run",
        "next": "Next, for instance:",
        "after": {
            "check": {
                "refine {data}": "teaches a model on them and judges it",
                "refine {data} --dry-run": "says first how long that takes",
            },
            "training": {
                "predict {model} FILES": "answers for new files",
                "evaluate {model} DATA": "judges it on other labelled files",
                "export {model} --to onnx": "writes it for other programs",
            },
            "generator": {
                "generate {model} --count 100": "has it make samples of each class",
            },
            "writer": {
                "generate {model} --prompt TEXT": "goes on with a text",
                "generate {model} --count 100": "has it write samples, as files",
            },
            "evaluate": {
                **EVALUATED,
                "predict {model} FILES": "answers for new files",
            },
            "evaluate a generator": {
                **EVALUATED,
                "generate {model} --count 100": "has it make samples of each class",
            },
            "evaluate a writer": {
                **EVALUATED,
                "generate {model} --prompt TEXT": "goes on with a text",
            },
        },
    },
    "fr": {
        "report": "rapport",
        "model": "modèle",
        "run": "exécution",
        "next": "Et maintenant, par exemple :",
        "after": {
            "training": {
                "predict {model} FICHIERS": "donne ses réponses pour de nouveaux fichiers",
                "evaluate {model} DONNÉES": "l’évalue sur d’autres fichiers étiquetés",
                "export {model} --to onnx": "l’exporte vers d’autres programmes",
            },
            "generator": {
                "generate {model} --count 100": "lui fait produire des éléments de chaque classe",
            },
            "writer": {
                "generate {model} --prompt TEXTE": "écrit la suite d’un texte",
                "generate {model} --count 100": "lui fait écrire des échantillons, en fichiers",
            },
        },
    },
}
"""What stands under the verdict of a training, in the language of its report, and what to type next after a verb.

Check and evaluate have tables in English only, and so what stands under these.
"""


def _errors() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _out() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPE_WIDTH  # a name that is broken over two lines is of no use to the next program
    return console


def say(text: str) -> None:
    """One sentence on standard error."""
    _errors().print(Text(text))


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes; anything else is no."""
    _errors().print(Text(f"{question} [y/N] "), end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=n, detail=detail)


class TerminalProgress:
    """Progress on standard error."""

    def __init__(self) -> None:
        self._console = _errors()

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(Text(text))

    @contextmanager
    def bar(self, title: str, total: int | None, *, start: int = 0) -> Iterator[Bar]:
        """A moving bar on a terminal, a line now and then elsewhere."""
        if not self._console.is_terminal:
            yield LineBar(self.say, title, total, start)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _RichBar(progress, progress.add_task(title, total=total, completed=start, detail=""))


def is_first_process() -> bool:
    """Whether this process speaks: the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def progress(*, quiet: bool) -> Iterator[ProgressProtocol]:
    """Where a command tells of itself."""
    yield QUIET if quiet or not is_first_process() else TerminalProgress()


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, n_words: int = 1) -> Table:
    """Columns with headings, of which the first `n_words` hold words and the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at < n_words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _columns(rows: Iterable[Iterable[str]], *, before: str = "") -> Text:
    """Lines of two columns, never broken: what stands there is meant to be copied."""
    pairs = [(first, second) for first, second in rows]
    width = max((len(first) for first, _ in pairs), default=0)
    return Text(before + "\n".join(f"{first:<{width}}  {second}" for first, second in pairs))


def show_manifest(manifest: Manifest) -> None:
    """The ledger of a check: counts that add up, splits by class, refusals with reasons, notes."""
    from ouvroir.data.findings import count_lines

    out = _out()
    out.print("\n".join(count_lines(manifest.summary())))
    counts = manifest.counts()
    splits = [split for split in ("train", "validation", "test") if counts.get(split)]
    labels = sorted({label for split in splits for label in counts[split]})
    if labels and len(labels) <= 60:
        named = labels if any(labels) else []
        rows = [[label or "no label", *(counts[split].get(label, 0) for split in splits)] for label in named]
        rows.append(["in all", *(len(manifest.positions(split)) for split in splits)])  # type: ignore[arg-type]
        out.print(_table(["label" if named else "", *splits], rows))
    _show_refused(out, manifest)
    proposed: set[str] = set()
    for note in manifest.notes:
        out.print(Text(f"\nNote: {note.text}"))
        if note.proposal and (call := _call_with(manifest, note)) not in proposed:
            proposed.add(call)
            out.print(Text(f"  {call}"))


def _show_refused(out: Console, manifest: Manifest) -> None:
    """The first refusals of each kind with reasons, and how many more. What the system leaves in folders is one line."""
    if not manifest.refused:
        return
    out.print("\nRefused:")
    of_code: dict[str, list[Refusal]] = {}
    for refusal in manifest.refused:
        of_code.setdefault(refusal.code, []).append(refusal)
    hidden = [shown_locator(refusal.id) for refusal in of_code.pop("hidden", ())]
    if hidden:
        names = readable_names(hidden, most=N_REFUSALS_SHOWN)
        out.print(Text(f"  hidden: {len(hidden)} hidden or of the system: {names}"))
    for code, refused in of_code.items():
        told: Counter[str] = Counter()  # blocks of one file are refused for one reason
        for refusal in refused:
            name = shown_locator(refusal.id)
            told[refusal.reason if name in refusal.reason else f"{name}: {refusal.reason}"] += 1
        shown = list(told.items())[:N_REFUSALS_SHOWN]
        for text, n_blocks in shown:
            out.print(Text(f"  {code}: {text}{f' ({n_blocks} blocks)' if n_blocks > 1 else ''}"))
        if more := len(refused) - sum(n_blocks for _, n_blocks in shown):
            out.print(f"  {code}: {more:,} more, {len(refused):,} in all; `--json` lists every one.")


def _call_with(manifest: Manifest, note: Note) -> str:
    """The command that does what a note proposes, to be pasted: the data read as they were, with the proposal over it."""
    from ouvroir.data.findings import given_settings

    verb = "check" if all(name.startswith("data.") for name in note.proposal) else "refine"
    given = given_settings(manifest)
    task = f" --task {shlex.quote(manifest.task)}" if ":" in manifest.task else ""
    source = shlex.quote(_from_here(manifest.source))
    return f"ouvroir {verb} {source}{task} {options_of({**given, **note.proposal})}"


def show_forecast(summary: Mapping[str, Any]) -> None:
    """What a dry run found: rows, packing, each model with its size and time, the time of the whole."""
    out = _out()
    splits = ", ".join(f"{count:,} {split}" for split, count in summary["splits"].items())
    out.print(
        f"{summary['found']:,} found = {summary['admitted']:,} admitted + {summary['refused']:,} refused; {splits}"
    )
    pack = "everything is packed already"
    if summary["pack_bytes"]:
        pack = f"{readable_size(summary['pack_bytes'])}, {readable_duration(summary['pack_seconds'])}"
    rows = [["pack", pack]]
    for model in summary["models"]:
        recipe = model["recipe"]
        a_step = readable_count(recipe["loop"]["batch_size"], find_task(recipe["task"]).draw)
        steps = f"{readable_count(model['steps'], 'step')} of {a_step}"
        about = readable_duration(model["train_seconds"])
        rows.append([model["name"], f"{model['parameters']:,} parameters, {steps}, {about}"])
    if summary["synthetic_seconds"]:
        about = readable_duration(summary["synthetic_seconds"])
        rows.append(["synthetic data", f"generator and trial, {about}; making and judging samples come on top"])
    elif summary["synthetic_untried"]:
        rows.append(["synthetic data", f"not tried. {summary['synthetic_untried']}"])
    total = readable_duration(summary["total_seconds"])
    rows.append(["in all", f"{total}; cheap baselines and the report come on top"])
    out.print(_columns(rows))
    out.print("Nothing was kept. The same call without --dry-run begins.")


def _metric(name: str, metric: Mapping[str, Any]) -> tuple[str, str, str]:
    """What people call a metric, its value and its interval, as the report writes them."""
    from ouvroir.evaluation.language import Language as Words

    t = Words("en")
    interval = "" if metric.get("low") is None else t.span(name, metric["low"], metric["high"])
    return t.known("metric", name), t.value(name, metric["value"]), interval


def show_run(summary: Mapping[str, Any], *, language: Language) -> None:
    """Outcome of a training: the verdict, where things are, what to type next."""
    from ouvroir.evaluation.language import Language as Words

    out, words = _out(), CLOSING[language]
    if summary["verdict"]:
        headline, *others = summary["verdict"]["lines"][language]
        out.print(Text(f"\n{headline}", style="bold"))
        if summary["synthetic"]:
            others = [*others, summary["synthetic"]["lines"][language]]
        t = Words(language)
        if any("[" in line.replace(t("no_interval"), "") for line in (headline, *others)):
            others.append(t("interval_note"))
        out.print(Text("\n".join(others)))
        _show_weakest(out, summary["verdict"].get("weakest", ()), language)
    else:  # a refit, or a run that was stopped: there is no report, and this sentence is English
        language, words = "en", CLOSING["en"]
        out.print(Text(f"\n{summary['sentence']}"))
    places = [[words[name], summary[name]] for name in ("report", "model", "run") if summary[name]]
    out.print(_columns(places, before="\n"))
    if summary["model"]:
        show_next(_kind_of(summary["task"]) or "training", language, model=[_from_here(summary["run"])])


def _kind_of(task: str) -> Literal["writer", "generator"] | None:
    """What a model of a task makes: texts, other samples, or none."""
    found = find_task(task)
    return "writer" if isinstance(found, Writer) else "generator" if isinstance(found, Synthesiser) else None


def show_after_evaluation(task: str, **named: Sequence[str]) -> None:
    """What to type once a model of `task` was judged; `named` as of `show_next`."""
    kind = _kind_of(task)
    show_next("evaluate" if kind is None else f"evaluate a {kind}", "en", **named)


def show_next(verb: str, language: Language = "en", **named: Sequence[str]) -> None:
    """What to type after `verb`, a key of CLOSING; `named` are the words for the model and the data in it."""
    out, words = _out(), CLOSING[language]
    typed = {name: shlex.join(value) for name, value in named.items()}
    calls = [[f"  ouvroir {call.format(**typed)}", what] for call, what in words["after"][verb].items()]
    out.print(Text(f"\n{words['next']}"))
    out.print(_columns(calls))


def _show_weakest(out: Console, weakest: Sequence[Mapping[str, Any]], language: Language) -> None:
    """The classes that are answered worst, each with its number of items and its interval."""
    from ouvroir.evaluation.language import Language as Words
    from ouvroir.evaluation.verdict import weakest_caution, weakest_lines

    if not weakest:
        return
    t = Words(language)
    lines = weakest_lines(weakest, t)
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    rows = [f"  {label:<{widths[0]}}  {found:<{widths[1]}}  {instead}".rstrip() for label, found, instead in lines]
    out.print(
        Text(
            "\n".join(
                filter(None, ["", t("colon", name=t("weakest"), value="").rstrip(), *rows, weakest_caution(weakest, t)])
            )
        )
    )


def _from_here(path: str) -> str:
    """A path as one would type it: relative to the current folder when it lies below."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path


def show_evaluation(summary: Mapping[str, Any]) -> None:
    """Metrics of a model on data, then each class, the most surely weak first, and what was left out."""
    from ouvroir.evaluation.language import Language as Words

    out, t = _out(), Words("en")
    rows = [[*_metric(name, metric), summary["n"]] for name, metric in summary["metrics"].items()]
    out.print(_table(["measure", "value", "95 % interval", f"{_kind(summary)}s"], rows))
    _show_directions(out, summary["metrics"])
    if summary["n_units"] < summary["n"]:
        out.print(f"Neighbouring blocks are not independent: the intervals count them as {summary['n_units']:,} items.")
    if classes := summary["classes"]:
        is_confused = any(one["taken_for"] for one in classes)  # never with several labels an item
        instead = "most often taken for" if is_confused else "named wrongly"
        rows = [
            [
                one["label"],
                one["n"],
                one["n_right"],
                t.span("accuracy", one["low"], one["high"]),
                _taken_for(one["taken_for"], one["n_taken_for"]) if is_confused else one["n_in_vain"],
            ]
            for one in classes[:N_CLASSES_SHOWN]
        ]
        out.print("\nClass by class, the most surely weak first:")
        out.print(_table(["class", "items", "right", "95 % interval", instead], rows))
        if len(classes) > N_CLASSES_SHOWN:
            out.print(f"... and {len(classes) - N_CLASSES_SHOWN} stronger ones; `--json` lists every one.")
    if summary["n_learned"]:
        out.print(f"\n{_flattered('The model', summary, _kind(summary))}")
    if summary["left_out"]:
        out.print()
    _show_left_out(out, summary)


def _show_directions(out: Console, metrics: Iterable[str]) -> None:
    """Of which measures less is more; nothing where there are none."""
    from ouvroir.evaluation.language import Language as Words
    from ouvroir.evaluation.metrics import is_higher_better

    t = Words("en")
    if lower := [t.known("metric", name) for name in metrics if not is_higher_better(name)]:
        out.print(f"Of {' and '.join(filter(None, [', '.join(lower[:-1]), lower[-1]]))}, {t('lower_better')}.")


def _kind(summary: Mapping[str, Any]) -> str:
    """What one of the rows that were judged is called."""
    return "block" if summary["in_blocks"] else "item"


def _flattered(who: str, summary: Mapping[str, Any], kind: str) -> str:
    """That figures on rows a model knows say little of new ones."""
    return f"{who} learned from {summary['n_learned']:,} of these {kind}s or was chosen by them: the figures flatter."


def _taken_for(label: str | None, count: int) -> str:
    return "" if label is None else f"{label} ({count})"


_LEFT_OUT = {"learned from": "learned from in training, or used to choose the model in validation"}


def _show_left_out(out: Console, summary: Mapping[str, Any], who: str = "The model", whose: str = "") -> None:
    """Rows that were not judged: how many, why, and which labels the model does not know."""
    for reason, count in summary["left_out"].items():
        out.print(f"left out{whose}: {count} ({_LEFT_OUT.get(reason, reason)})")
    if summary["unknown_labels"]:
        out.print(Text(f"{who} does not know the labels {readable_names(summary['unknown_labels'])}."))


def show_comparison(summary: Mapping[str, Any]) -> None:
    """Two models side by side on the same items, what the difference is worth, and which items changed."""
    out, a, b = _out(), summary["a"], summary["b"]
    out.print(Text(f"A  {a['model']}\nB  {b['model']}\n"))
    rows = [
        [*_metric(name, metric), *_metric(name, b["metrics"][name])[1:]]
        for name, metric in a["metrics"].items()
        if name in b["metrics"]
    ]
    rows.append(["parameters", f"{a['n_parameters']:,}", "", f"{b['n_parameters']:,}", ""])
    if a["seconds"] is not None and b["seconds"] is not None:
        rows.append(["training", readable_duration(a["seconds"]), "", readable_duration(b["seconds"]), ""])
    out.print(_table([readable_count(summary["n"], _kind(summary)), "A", "95 % interval", "B", "95 % interval"], rows))
    _show_directions(out, a["metrics"])
    out.print(Text(f"\n{summary['sentence']}"))
    for told in (summary["kinship"], summary["sizes"]):
        if told:
            out.print(Text(told))
    if a["writing"] and b["writing"]:
        _show_writing(out, a["writing"], b["writing"])
    for word in ("fixed", "broken"):
        if summary[word]:
            out.print(Text(f"{word} by B: {readable_names(map(shown_locator, summary[word]))}"))
    for name, one in (("A", a), ("B", b)):
        if one["n_learned"]:
            out.print(_flattered(name, one, _kind(summary)))
    if a["left_out"] or b["left_out"]:
        out.print(f"\nCompared are the {_kind(summary)}s that both can be judged on.")
    _show_left_out(out, a, "A", " for A")
    _show_left_out(out, b, "B", " for B")


def _show_writing(out: Console, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    """How two models write, which was kept when each was trained and says nothing of the texts that they are compared on."""
    out.print(
        "\nHow each writes. This was measured at the end of its training, beside real texts of that training,\n"
        "and has nothing to do with the texts compared here:"
    )
    out.print(_table(["", "A writes", "its real texts", "B writes", "its real texts"], _habits(a, b)))
    for name, one in (("A", a), ("B", b)):
        if one["sample"]:
            out.print(Text(f"\n{name} writes, from nothing:\n{_shortened(one['sample'])}"))


def _habits(*written: Mapping[str, Any]) -> list[list[str]]:
    """Rows of how models write: each one's own habit, and that of the real text of its training."""
    from ouvroir.evaluation.language import Language as Words

    t = Words("en")
    kinds = (("repetition", "runs of six pieces repeated", t.percent), ("copied", "longest copied passage", t.count))
    found = []
    for name, title, write in kinds:
        row = [title]
        for one in written:
            own, real = one[name], one[f"{name}_real"]
            row += ["–" if one is None else write(one) for one in (own, real)]
        found.append(row)
    return found


def _shortened(text: str) -> str:
    """The beginning of a text that a model wrote, without what no screen shows."""
    from ouvroir.evaluation.writing_page import readable

    text = readable(text.strip())
    return text if len(text) <= MOST_WRITTEN else f"{text[:MOST_WRITTEN]}…"


def show_export(result: ExportResult) -> None:
    """Where the file is, what the gate saw, and how it is loaded: lines to be pasted, so they are not moved in."""
    _out().print(Text("\n".join([result.sentence, "\nIn Python:\n", *result.use])))


def show_generated(summary: Mapping[str, Any]) -> None:
    """How many samples were made, how fast, and where they are."""
    made = readable_count(summary["made"], "sample")
    rate = summary["per_second"]
    speed = f"{rate:,.0f} a second" if rate >= 1 else f"{summary['seconds'] / max(1, summary['made']):.1f} s each"
    took = f"{summary['seconds']:.1f} s ({speed})"
    _out().print(Text(f"{made} made in {took}. They are in {summary['folder']}."))
    if n := summary["copies"]:
        are = "1 of them is a copy" if n == 1 else f"{n:,} of them are copies"
        _out().print(
            Text(f"{are} of what the generator learned from, whole or mostly. refine and prove leave them out.")
        )
    elif n is None:
        _out().print(
            Text("What the generator learned from is not there any more: whether any of them is a copy is not known.")
        )


def show_proof(summary: Mapping[str, Any]) -> None:
    """The verdicts, what was cut, and where the report is."""
    out = _out()
    for line in summary["told"]:
        out.print(Text(line))
    if summary["report"] is not None:
        out.print(Text(f"\nreport  {summary['report']}"))


def show_findings(findings: Iterable[Finding]) -> None:
    """The doctor's lines."""
    out = _out()
    styles = {"ok": "green", "warn": "yellow", "fail": "red"}
    for finding in findings:
        line = Text(f"{finding.level:<5}", style=styles[finding.level])
        line.append(f" {finding.text}", style="")
        if finding.next_step:
            line.append(f" {finding.next_step}", style="dim")
        out.print(line)


def show_runs(runs: Iterable[RunEntry], root: Path) -> None:
    """One line per run of the folder `root`; where that is wider than the terminal, the name has a line of its own."""
    rows = []
    for one in runs:
        metric = ["" if one.refit_of is None else f"as {one.refit_of} (refit)", "", ""]
        if one.metric is not None and one.value is not None:
            metric = [*_metric(one.metric, {"value": one.value, "low": one.low, "high": one.high})]
        rows.append([one.name, one.state, *metric, readable_size(one.size_bytes)])
    if not rows:
        say(no_runs(root))
        return
    out = _out()
    table = _table(["run", "state", "on unseen data", "value", "95 % interval", "size"], rows, n_words=3)
    if out.measure(table, options=out.options.update(width=PIPE_WIDTH)).maximum <= out.width:
        out.print(table)
        return
    for name, *rest in rows:
        out.print(Text(name))
        out.print(Text(f"  {'  '.join(filter(None, rest))}"))


def show_cache(entries: Iterable[CacheEntry]) -> None:
    """One line per cached thing, and what they take together."""
    entries = list(entries)
    rows = [
        [
            f"{one.kind} {one.name}",
            one.data or "–",
            time.strftime("%Y-%m-%d", time.localtime(one.used_at)),
            readable_size(one.size_bytes),
        ]
        for one in entries
    ]
    if not rows:
        _out().print("Nothing is kept.")
        return
    _out().print(_table(["kept", "of", "last used", "size"], rows))
    _out().print(f"{_n_entries(entries)}.")


def show_removed(removed: list[CacheEntry]) -> None:
    """What a clearing did."""
    _out().print(f"Removed {_n_entries(removed)}.")


def _n_entries(entries: Sequence[CacheEntry]) -> str:
    size = readable_size(sum(entry.size_bytes for entry in entries))
    return f"{readable_count(len(entries), 'entry', 'entries')}, {size}"
