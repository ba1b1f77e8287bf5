"""The Recipe: everything that decides what a training does, as frozen dataclasses checked by pydantic.

A recipe is written in Python (`media/*/recipes.py`), travels as JSON (the `--recipe` file, the HTTP body, the run
folder) and is overridden with dotted names (`--set optim.lr=3e-4`). Help, JSON Schema and forms are generated from the
fields below. Nothing here knows a medium: what only one task needs lives in that task's own `Options`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Setting

from ouvroir import constants as _constants
from ouvroir.errors import RecipeError

# numbers become text where text is wanted: a column may be called 1
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

PositiveInt = Annotated[int, Setting(ge=1)]
Positive = Annotated[float, Setting(gt=0)]
Fraction = Annotated[float, Setting(ge=0, lt=1)]
Name = Annotated[str, Setting(min_length=1)]

ConstantName = Literal["phi", "pi", "alpha", "zeta"]

Value = str | float | None
"""Of a setting, as a person gives it: text as on the command line, or a number, a boolean or None as they are in Python."""


def setting(default: Any, text: str) -> Any:
    """A dataclass field with its one-sentence description."""
    return field(default=default, metadata={"description": text})


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which rows, and how they are split."""

    __pydantic_config__ = _STRICT

    source: str = setting("", "Absolute path of the data, as the user gave it.")
    manifest: str = setting("", "Fingerprint of the manifest that was trained on.")
    validation: Fraction | None = setting(
        None,
        "Share of the rows for validation, unless the data has a validation split; 0.15 when absent, 0.1 for a corpus.",
    )
    test: Fraction | None = setting(
        None, "Share of the rows for the test, unless the data has a test split; 0.2 when absent, 0.1 for a corpus."
    )
    per_class: PositiveInt | None = setting(
        None, "Train rows per class; the rest is shared between validation and test."
    )
    path_column: Name | None = setting(None, "Table column that holds file paths; found by itself when absent.")
    labels: bool = setting(
        True, "Whether labels are taken, from tables, folders or names; texts without any are a corpus."
    )
    text_column: Name | None = setting(
        None, "Table column that holds the text, where rows are texts; found by itself when absent."
    )
    label_column: Name | None = setting(None, "Table column that holds the label; found by itself when absent.")
    label_pattern: str | None = setting(
        None,
        "Regular expression on the file name; its first group is the label, where neither folders nor a table say it.",
    )
    label_separator: str | None = setting(None, "Splits a label into several (multi-label), e.g. '|'.")
    group_column: Name | None = setting(None, "Table column whose equal values stay in one split.")
    group_level: PositiveInt | None = setting(
        None, "Folder level (1 is just below the data) whose files stay in one split."
    )
    group_pattern: str | None = setting(
        None, "Regular expression on the file name; its first group stays in one split."
    )
    seed: Annotated[int, Setting(ge=0)] = setting(0, "Seed of the splits.")


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which network, and what of it learns."""

    __pydantic_config__ = _STRICT

    preset: Literal["tiny", "small", "base"] = setting(
        "small", "The one dial: width, depth, batch and learning rate follow."
    )
    init_from: str = setting("scratch", "'scratch', a run folder, a folder of pretrained weights, or a hub name.")
    scope: str = setting("all", "What learns: 'all', 'head', 'last:N' parts, or names of parts joined by commas.")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """How weights move."""

    __pydantic_config__ = _STRICT

    name: Literal["adamw", "adam", "sgd", "muon"] = setting("adamw", "Optimiser; muon moves matrices, adamw the rest.")
    lr: Annotated[float, Setting(gt=0)] = setting(1e-3, "Peak learning rate.")
    weight_decay: Annotated[float, Setting(ge=0)] = setting(
        0.01, "Decay of matrices and kernels; not of biases and norms."
    )
    momentum: Fraction = setting(0.9, "Momentum of sgd and muon, beta1 of adam.")
    beta2: Fraction = setting(0.99, "Second beta of adam and adamw.")
    schedule: Literal["one-cycle", "cosine", "warmup-stable-decay", "constant"] = setting(
        "one-cycle", "Course of the rate."
    )
    warmup: Fraction = setting(0.2, "Share of the steps in which the rate rises.")
    max_grad_norm: Annotated[float, Setting(ge=0)] = setting(1.0, "Gradients are clipped to this norm; 0 is never.")
    ema: Fraction = setting(0.0, "Decay of the averaged weights that are judged and kept; 0 is none.")
    part_decay: Annotated[float, Setting(gt=0, le=1)] = setting(
        1.0, "Each part before the last learns at this ratio of the next."
    )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How long, in what pieces, and on what arithmetic."""

    __pydantic_config__ = _STRICT

    steps: PositiveInt | None = setting(
        None, "Optimiser steps; worked out from epochs or minutes and written here before step 1."
    )
    epochs: Annotated[float, Setting(gt=0)] = setting(
        20.0, "Passes over the train rows, when neither steps nor minutes are given."
    )
    minutes: Annotated[float, Setting(gt=0)] | None = setting(
        None, "Time to train; turned into steps by measuring the speed."
    )
    batch_size: PositiveInt = setting(64, "Rows per optimiser step, over all processes.")
    micro_batch: PositiveInt | None = setting(None, "Rows per forward pass and process; found by the memory rehearsal.")
    activation_checkpointing: bool = setting(
        False, "Recompute activations to save memory; found by the memory rehearsal."
    )
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "Arithmetic; auto measures and writes the faster one.")
    layout: Literal["auto", "contiguous", "channels_last"] = setting("auto", "Memory layout; auto measures.")
    threads: Annotated[int, Setting(ge=0)] = setting(0, "Threads of one process on a CPU; 0 measures.")
    cache_features: Literal["auto"] | bool = setting(
        "auto", "Run frozen parts once and keep what they give; auto does where there is room, and writes it here."
    )
    evaluate_every: PositiveInt | None = setting(None, "Steps between validations; worked out when absent.")
    save_every: PositiveInt | None = setting(None, "Steps between checkpoints; worked out when absent.")
    branch_at: Fraction = setting(
        0.0, "Share of the steps after which one more checkpoint is kept, to branch from; 0 is none."
    )
    patience: Annotated[int, Setting(ge=0)] = setting(0, "Stop after so many validations without a gain; 0 is never.")
    sampling: Literal["plain", "balanced"] = setting("plain", "balanced draws every class equally often.")
    synthetic_share: Fraction = setting(
        0.25,
        "Share of each batch that synthetic rows make up, where there are any; none in the last fifth of the steps.",
    )
    exact: bool = setting(False, "Same weights to the bit on any number of processes, by virtual shards.")
    virtual_shards: PositiveInt = setting(4, "Pieces of a batch that share random numbers; processes must divide it.")
    seed: Annotated[int, Setting(ge=0)] = setting(0, "Seed of weights, order and augmentation.")


def _switch(constant: _constants.Constant) -> BeforeValidator:
    """`off` stands for the ordinary value, `on` for the constant's own."""

    def read(given: Any) -> Any:
        if isinstance(given, bool):
            return constant.value if given else "ordinary"
        return given

    return BeforeValidator(read)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """φ, π, 1/137 and −1/12, each with its value or 'ordinary' (see ouvroir.constants); `off` is read as 'ordinary'."""

    __pydantic_config__ = _STRICT

    phi: Annotated[Positive | Literal["ordinary"], _switch(_constants.PHI)] = setting(
        _constants.PHI.value, _constants.PHI.use
    )
    pi: Annotated[Positive | Literal["ordinary"], _switch(_constants.PI)] = setting(
        _constants.PI.value, _constants.PI.use
    )
    alpha: Annotated[float | Literal["ordinary"], _switch(_constants.ALPHA)] = setting(
        _constants.ALPHA.value, _constants.ALPHA.use
    )
    zeta: Annotated[float | Literal["ordinary"], _switch(_constants.ZETA)] = setting(
        _constants.ZETA.value, _constants.ZETA.use
    )

    def value(self, name: ConstantName) -> float | None:
        """The number to use: what the recipe says, or the ordinary value (None for π: ordinary attention)."""
        chosen = getattr(self, name)
        constant: _constants.Constant = getattr(_constants, name.upper())
        return constant.ordinary if chosen == "ordinary" else float(chosen)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training does."""

    task: str
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    loop: Loop = field(default_factory=Loop)
    constants: Constants = field(default_factory=Constants)
    options: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order of the fields."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The text of recipe.json."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote, or a part of it: what is absent takes its default. Raises RecipeError."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecipeError(f"The recipe is not JSON: {error}.") from error
        if not isinstance(value, dict):
            raise RecipeError("The recipe must be a JSON object with at least `task`.")
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """Check plain values and build the recipe. Raises RecipeError naming the first wrong setting."""
        return cls._checked(value, {})

    @classmethod
    def _checked(cls, value: Mapping[str, Any], given: Mapping[str, Value]) -> Recipe:
        """As `from_dict`; `given` are those of the settings that a person gave, by their dotted names."""
        from ouvroir.media import find_task

        rest = dict(value)
        name = rest.pop("task", None)
        if not isinstance(name, str):
            raise RecipeError('The recipe must say its task, e.g. {"task": "image-classification"}.')
        options_type = find_task(name).Options
        options = _check(options_type, rest.pop("options", None) or {}, "options", given)
        parts = {
            part.name: _check(_SECTIONS[part.name], rest.pop(part.name, None) or {}, part.name, given)
            for part in dataclasses.fields(cls)
            if part.name in _SECTIONS
        }
        if rest:
            raise RecipeError(_unknown(next(iter(rest)), ["task", "options", *_SECTIONS]))
        return cls(task=name, options=options, **parts)

    def replace(self, section: str, **changes: Any) -> Recipe:
        """A copy with fields of one section changed, unchecked: for code, not for user input."""
        return dataclasses.replace(self, **{section: dataclasses.replace(getattr(self, section), **changes)})

    def with_overrides(self, pairs: Mapping[str, Value]) -> Recipe:
        """A copy with dotted names set, `{"optim.lr": "3e-4"}`; text is read as JSON, else as itself. Raises RecipeError."""
        value = self.to_dict()
        for name, given in pairs.items():
            section, _, leaf = name.partition(".")
            groups = {key: part for key, part in value.items() if isinstance(part, dict)}
            if leaf not in groups.get(section, ()):
                known = [f"{group}.{key}" for group, part in groups.items() for key in part]
                raise RecipeError(_unknown(name, known, groups))
            value[section][leaf] = _read_value(given)
        return Recipe._checked(value, pairs)

    def settings(self) -> list[tuple[str, str, str]]:
        """(dotted name, value as JSON, description) of every setting, for help, cards and forms."""
        found = []
        for section in (*_SECTIONS, "options"):
            part = getattr(self, section)
            for entry in dataclasses.fields(part):
                text = str(entry.metadata.get("description", ""))
                found.append((f"{section}.{entry.name}", json.dumps(getattr(part, entry.name)), text))
        return found


_SECTIONS: dict[str, type] = {"data": Data, "model": Model, "optim": Optim, "loop": Loop, "constants": Constants}
_LENGTHS = ("loop.steps", "loop.minutes", "loop.epochs")  # the first that is given counts
_WORDS = {"on": True, "off": False, "yes": True, "no": False, "none": None}


def read_data(pairs: Mapping[str, Value]) -> Data:
    """The `data.*` settings among dotted names; the others are left for `Recipe.with_overrides`. Raises RecipeError."""
    mine = {name.partition(".")[2]: _read_value(given) for name, given in pairs.items() if name.startswith("data.")}
    checked: Data = _check(Data, mine, "data", pairs)
    return checked


def data_settings(data: Data, usual: Data) -> dict[str, str]:
    """The settings in which a way of reading differs from the usual one, as dotted names: what has files read so again."""
    found = dataclasses.asdict(dataclasses.replace(data, source=usual.source, manifest=usual.manifest))
    return {f"data.{name}": str(value) for name, value in found.items() if value not in (None, getattr(usual, name))}


def check_settings(
    pairs: Mapping[str, Value], *, sections: tuple[str, ...] | None = None, tasks: Iterable[str] = ()
) -> None:
    """Refuse unknown names, values out of range and two lengths first of all. Values of `options.*` wait for the task.

    `sections`: those that count here, by default all. `tasks`: those that it may be, which have `options.*`. Raises RecipeError.
    """
    for name, given in pairs.items():
        section, _, leaf = name.partition(".")
        if section == "options" and sections is None:
            _require_option(name, tasks)
            continue
        if sections is not None and section in (*_SECTIONS, "options") and section not in sections:
            raise RecipeError(f"`{name}` changes nothing here: only settings of {' and '.join(sections)} count.")
        known = [f"{part}.{entry.name}" for part in sections or _SECTIONS for entry in _fields(part)]
        if name not in known:
            raise RecipeError(_unknown(name, known, sections or (*_SECTIONS, "options")))
        _check(_SECTIONS[section], {leaf: _read_value(given)}, section, pairs)
    lengths = [name for name in _LENGTHS if _read_value(pairs.get(name)) is not None]
    if len(lengths) > 1:
        raise RecipeError(
            f"{' and '.join(f'`{name}`' for name in lengths)} each say how long to train, and only `{lengths[0]}` would count. "
            "Leave out all but one (`--minutes` is `loop.minutes`)."
        )


def _require_option(name: str, tasks: Iterable[str]) -> None:
    """Raises RecipeError where none of the tasks has an option of this name."""
    from ouvroir.media import find_task

    options = dict.fromkeys(
        f"options.{one.name}" for task in tasks for one in dataclasses.fields(find_task(task).Options)
    )
    if name not in options:
        known = [*options, *(f"{part}.{entry.name}" for part in _SECTIONS for entry in _fields(part))]
        raise RecipeError(_unknown(name, known, ("options",)))


def _fields(section: str) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(_SECTIONS[section])


def json_schema(task: str) -> dict[str, Any]:
    """JSON Schema of a recipe for `task`, with descriptions: for forms and HTTP."""
    from ouvroir.media import find_task

    properties: dict[str, Any] = {"task": {"const": task}}
    for name, section in {**_SECTIONS, "options": find_task(task).Options}.items():
        schema = _adapter(section).json_schema()
        for entry in dataclasses.fields(section):
            schema["properties"][entry.name]["description"] = entry.metadata.get("description", "")
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": ["task"], "additionalProperties": False}


def _read_value(given: Value) -> Any:
    if not isinstance(given, str):
        return given
    if given.lower() in _WORDS:
        return _WORDS[given.lower()]
    try:
        return json.loads(given)
    except json.JSONDecodeError:
        return given


@functools.cache
def _adapter(section: type) -> TypeAdapter[Any]:
    return TypeAdapter(section)


def _check(section: type, value: Any, name: str, typed: Mapping[str, Value]) -> Any:
    """`value` as a `section` of the recipe, which is called `name`. `typed`: settings as a person gave them, for the error."""
    try:
        found: Any = _adapter(section).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"][:1]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = [f"{name}.{key}" for key in get_type_hints(section) if not key.startswith("_")]
            raise RecipeError(_unknown(place, known)) from error
        said = typed.get(place)
        is_word = isinstance(said, str) and said.lower() in _WORDS
        given = f"`{said}`" if is_word else json.dumps(first.get("input"), default=str, ensure_ascii=False)
        kinds = [one for one in error.errors() if one["loc"][:1] == first["loc"][:1]]  # of each kind that it may be
        wrong = [one["msg"] for one in kinds]
        why = " or ".join(dict.fromkeys(f"{text[0].lower()}{text[1:]}" for text in wrong))
        why = why.replace(" or input should be ", " or ")
        raise RecipeError(f"`{place}` cannot be {given}: {why}.") from error
    for key, given in value.items():
        read = getattr(found, key)
        if isinstance(given, bool) and not isinstance(read, bool) and read == int(given):  # pydantic takes true for 1
            said = typed.get(f"{name}.{key}", json.dumps(given))
            raise RecipeError(f"`{name}.{key}` cannot be `{said}`: input should be a number.")
    return found


def _unknown(name: str, known: list[str], groups: Iterable[str] = ()) -> str:
    """That there is no such setting, and which was probably meant: the same of another group first, or else what there is.

    `groups`: those that there are; of one that `known` has nothing of, as of the options of a task not known yet, it alone is told.
    """
    low, groups = name.lower(), list(groups)
    group, _, leaf = (low, "", "") if low in groups else low.rpartition(".")
    mine = [one for one in known if one.startswith(f"{group}.")]
    unsure = [one for one in groups if not any(other.startswith(f"{one}.") for other in known)]
    alike = [one for one in known if leaf and one.endswith(f".{leaf}")]  # in another group, or without one
    if len(alike) > 1:
        others = [one.partition(".")[0] for one in alike]
        alike = [f"{one}.{leaf}" for one in difflib.get_close_matches(group, others, n=1)]
    near = difflib.get_close_matches(group, groups, n=1)
    likely = {one.rpartition(".")[2]: one for one in mine} or {one: one for one in known}
    close = difflib.get_close_matches(leaf if mine else low, likely, n=1)
    if alike:
        hint = f"Did you mean `{alike[0]}`?"
    elif near and near[0] in unsure:
        hint = f"Did you mean the group `{near[0]}`? What settings it has depends on the task."
    elif leaf and close:
        hint = f"Did you mean `{likely[close[0]]}`?"
    else:
        hint = "There are: " + ", ".join(mine or groups or known) + "."
    return f"There is no setting `{name}`. {hint}"
