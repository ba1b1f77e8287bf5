"""The model card: what a bundle says of itself to a person, as one Markdown page.

A `Card` holds what only the caller knows (data, judgement, time); `render_card` writes the page from it, from the recipe
and from the constants in use. Nothing here computes a metric.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from ouvroir import constants
from ouvroir.files import readable_count, readable_size
from ouvroir.recipe import Recipe
from ouvroir.task import Synthesiser, Task, Writer

Metrics = Mapping[str, Mapping[str, float]]
"""Metric name -> {"value", "low", "high", "n"}; the first is the main one."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a model beside its weights.

    `data` is the name of the data (never a path of somebody's machine), `fingerprint` of its manifest; `row` is what one of its
    rows is called; `splits` rows per split; `refused` files that could not serve. `metrics` were measured on the split
    `judged_on`. `limits` are sentences about what the model cannot do.
    `steps`, `seconds`, `device`, `started` and `finished` tell of the training, `kept_step` the step that the model is of.
    `refit` says that all rows were trained on after the metrics had been measured. `threshold` is the score proposed for 'none of
    these' (0: none).
    """

    data: str = ""
    fingerprint: str = ""
    row: str = "row"
    splits: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    metrics: Metrics = field(default_factory=dict)
    judged_on: str = "test"
    limits: tuple[str, ...] = ()
    steps: int | None = None
    kept_step: int | None = None
    seconds: float | None = None
    device: str = ""
    started: str = ""
    finished: str = ""
    refit: bool = False
    threshold: float = 0.0


def render_card(
    card: Card,
    recipe: Recipe,
    task: Task,
    *,
    labels: tuple[str, ...],
    made_with: str,
    size_bytes: int,
    files: Collection[str],
    formats: Sequence[str],
    is_multi_label: bool = False,
) -> str:
    """The model card as Markdown.

    `made_with` is our version, `size_bytes` that of the weights, `files` what lies beside it, `formats` what it can be exported to,
    `is_multi_label` whether an answer may be several of the labels or none.
    """
    blocks = [
        f"# {_plain(card.data or 'model')}: {recipe.task}",
        _what_it_is(card, recipe, task, labels, made_with, size_bytes, is_multi_label=is_multi_label),
        _how_good(card),
        _data(card),
        _training(card, recipe, task),
        _constants(recipe, task),
        _limits(card, task, labels, is_multi_label=is_multi_label),
        _use(task, labels, formats, is_multi_label=is_multi_label),
        _FILES + "".join(text for name, text in _OPTIONAL_FILES.items() if name in files) + _HASHES,
    ]
    return "\n\n".join(block.strip() for block in blocks if block) + "\n"


def data_name(source: str) -> str:
    """The last part of a path or a hub name, for a card that travels: never the whole path of somebody's machine."""
    return PurePath(source.rstrip("/")).name or "data"


def _what_it_is(
    card: Card,
    recipe: Recipe,
    task: Task,
    labels: tuple[str, ...],
    made_with: str,
    size_bytes: int,
    *,
    is_multi_label: bool,
) -> str:
    shown = ", ".join(f"`{_plain(label)}`" for label in labels[:50]) + (
        f" and {len(labels) - 50} more" if len(labels) > 50 else ""
    )
    lines = [
        f"A model for **{recipe.task}**, made with Ouvroir {made_with}.",
        f"The network is {task.network(recipe)}: preset `{recipe.model.preset}`, started from {_origin(recipe)}; weights "
        f"{readable_size(size_bytes)}.",
    ]
    if labels and isinstance(task, Synthesiser):
        lines.append(f"It learned {readable_count(len(labels), 'class', 'classes')}: {shown}.")
    elif labels:
        which = "any number" if is_multi_label else "one"
        lines.append(f"It answers with {which} of {len(labels)} labels: {shown}.")
    if card.threshold:
        lines.append(
            f"With `--threshold auto` it answers 'none of these' below a score of {card.threshold:.3g}, which kept 95 % of its "
            "right answers on validation data."
        )
    return "\n".join(lines)


def _origin(recipe: Recipe) -> str:
    start = recipe.model.init_from
    if start == "scratch":
        return "nothing (random weights)"
    name = data_name(start)
    step = name.removeprefix("step_")
    return f"step {int(step)} of an earlier training" if step != name and step.isdigit() else f"`{_plain(name)}`"


def _how_good(card: Card) -> str:
    if not card.metrics:
        return f"## How good it is\n\nNot measured: there were no held-out {card.row}s to judge it on. Do not trust it unseen."
    table = ["| metric | value |", "|---|---|"]
    from ouvroir.evaluation.language import Language  # which needs NumPy

    t = Language("en")
    table += [f"| {t.known('metric', name)} | {_interval(metric)} |" for name, metric in card.metrics.items()]
    n = next(iter(card.metrics.values())).get("n")
    said = f"Measured on {readable_count(int(n), card.row)}" if n else f"Measured on {card.row}s"
    said += f" of the {card.judged_on} split, "
    if card.judged_on == "validation":
        said += "which also chose the checkpoint, so that a new test may come out a little worse"
    else:
        said += "which took no part in training"
    said += "; brackets are 95 % intervals."
    if card.refit:
        said += f" After that the model was trained again on all {card.row}s with the same recipe: these figures are of its twin."
    return "## How good it is\n\n" + said + "\n\n" + "\n".join(table)


def _interval(metric: Mapping[str, float]) -> str:
    value, low, high = (metric.get(name) for name in ("value", "low", "high"))
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return "not defined" if value is None else f"{value:.3f}{interval}"


def _data(card: Card) -> str:
    lines = ["## Data", ""]
    lines.append(
        f"`{_plain(card.data)}`" + (f", manifest fingerprint `{card.fingerprint}`." if card.fingerprint else ".")
    )
    if card.splits:
        lines += [
            "",
            f"| split | {card.row}s |",
            "|---|---|",
            *(f"| {split} | {n} |" for split, n in card.splits.items()),
        ]
    lines += ["", f"Files refused at the check, each with its reason: {card.refused}."]
    return "\n".join(lines)


def _training(card: Card, recipe: Recipe, task: Task) -> str:
    words = []
    if card.steps is not None:
        words.append(f"{readable_count(card.steps, 'step')} of {readable_count(recipe.loop.batch_size, task.draw)}")
        if card.kept_step not in (None, card.steps):
            words[-1] += (
                f" (the model is kept as it was after {card.kept_step:,}, where it did best on validation data)"
            )
    if card.seconds is not None:
        words.append(f"{card.seconds:.0f} seconds")
    if card.device:
        words.append(f"on {card.device}")
    words.append(f"{recipe.optim.name} at a peak rate of {recipe.optim.lr:g}")
    words.append(f"precision {recipe.loop.precision}, seed {recipe.loop.seed}")
    return (
        "## Training\n\n"
        + ", ".join(words)
        + ". `recipe.json` holds every setting, `training_info.txt` times and versions."
    )


def _constants(recipe: Recipe, task: Task) -> str:
    """Those that act in the model, and which have no place in it."""
    uses = task.constants(recipe)
    acting = [one for one in constants.ALL if one.name in uses]
    if not acting:
        return ""
    others = [one.symbol for one in constants.ALL if one.name not in uses]
    lead = "These numbers are part of the model by the wish of its makers. What they bring is measured, not claimed."
    lines = [
        "## Constants",
        "",
        lead + (f" It has no place for {' and '.join(others)}, which other models have." if others else ""),
        "",
        "| constant | used | ordinary | for |",
        "|---|---|---|---|",
    ]
    for constant in acting:
        chosen = getattr(recipe.constants, constant.name)
        used = "ordinary value" if chosen == "ordinary" else f"{chosen:.6g}"
        ordinary = "none" if constant.ordinary is None else f"{constant.ordinary:g}"
        lines.append(f"| {constant.symbol} | {used} | {ordinary} | {uses[constant.name]} |")
    return "\n".join(lines)


def _limits(card: Card, task: Task, labels: tuple[str, ...], *, is_multi_label: bool) -> str:
    lines = []
    if isinstance(task, Writer):
        lines.append("What it writes is synthetic, and may be wrong, offensive, or a passage of what it learned from.")
    elif isinstance(task, Synthesiser):
        lines.append("What it makes is synthetic, and may be a copy of what it learned from.")
    elif labels:
        lines.append(
            "It knows its labels and nothing else: shown anything else it may still give some."
            if is_multi_label
            else "It knows its labels and nothing else: shown anything else it still picks one, unless a threshold is set."
        )
    lines.append(
        "The figures hold for data like the data above; other sources, places or times may do worse. Measure first."
    )
    train = card.splits.get("train")
    if train is not None and labels and train < 20 * len(labels):
        lines.append(f"It learned from few {card.row}s: {train} for {len(labels)} labels.")
    lines += [*card.limits]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _use(task: Task, labels: tuple[str, ...], formats: Sequence[str], *, is_multi_label: bool) -> str:
    """How to use such a model, in Python and on the command line."""
    where: tuple[str, ...] = ()
    if isinstance(task, Writer):
        python, commands = _writing(labels)
    elif isinstance(task, Synthesiser):
        python, commands = _MAKING
        where = (
            "Samples are made within the run that this folder is a part of; copied elsewhere by itself it makes none.",
            "",
        )
    else:
        python, commands = _answering(is_multi_label=is_multi_label)
    exports = [f"ouvroir export final_model --to {name}" for name in formats]
    return "\n".join(
        [
            "## Use",
            "",
            *where,
            "In Python, from the folder that holds this one:",
            "",
            "```python",
            *("import ouvroir", "", *python),
            "```",
            "",
            "On the command line:",
            "",
            "```",
            *commands,
            *exports,
            "```",
        ]
    )


_MAKING = (
    ('made = ouvroir.generate("final_model", count=100)', "print(made.folder, made.copies)"),
    ("ouvroir generate final_model --count 100",),
)


def _answering(*, is_multi_label: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How a model answers, with one label or several."""
    given = "labels" if is_multi_label else "label"
    python = (
        'predictor = ouvroir.load("final_model")',
        'for prediction in predictor.predict(["a_file", "another_file"]):',
        f"    print(prediction.{given}, prediction.scores)",
    )
    return python, ("ouvroir predict final_model FILES_OR_FOLDERS --format csv",)


def _writing(labels: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How a model goes on with a text, of its first class where it has some."""
    label = next((one for one in labels if one == _plain(one)), "LABEL")
    of_class = f", label={label!r}" if labels else ""
    option = f" --label {shlex.quote(label)}" if labels else ""
    python = (
        'model = ouvroir.load("final_model")',
        f'print(model.write("A beginning"{of_class}))',
        f'for _, text in model.stream("A beginning", how=ouvroir.Sampling(temperature=0.8, most=300){of_class}):',
        '    print(text, end="", flush=True)',
    )
    return python, (f'ouvroir generate final_model --prompt "A beginning" --most 300{option}',)


_FILES = """
## Files

- `model.safetensors`, `processor/`, `recipe.json`: all that using it needs
- `config.json`: task, labels, threshold, format version, metrics
"""

_OPTIONAL_FILES = {
    "check_items.safetensors": """\
- `check_items.safetensors`: some held-out examples in encoded form with this model's answers, used to prove that an
  exported file answers alike. It contains data: delete it before sharing the folder if the data may not travel
""",
    "learned.safetensors": """\
- `learned.safetensors`: SHA-256 of each item the model learned from, so that `evaluate` leaves these out. It contains no
  data, but tells whoever has a file whether it was among them; it may be deleted
""",
}

_HASHES = """\
- `hashes.json`: SHA-256 of each file, verified on loading
"""


def _plain(text: str) -> str:
    """User text made harmless in Markdown: no code ends, no table cells, no tags, no line breaks."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/").replace("<", "‹").replace(">", "›")
