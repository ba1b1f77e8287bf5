"""What a report is made from: the systems that answered, how to show a row, and what the run recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ouvroir.task import Answers, Label

if TYPE_CHECKING:
    from ouvroir.baselines import Suspect
    from ouvroir.run import Measurement


class Shown(NamedTuple):
    """A row for a person: its name, and MIME type, bytes and picture as of `Rendering`. No type where its file cannot be read."""

    name: str
    mime: str = ""
    content: bytes = b""
    picture: bytes = b""


@dataclass(frozen=True)
class Controlled:
    """Answers of the kept model to the test rows once more, something being taken from them, which `text` says."""

    text: str
    answers: Answers


@dataclass(frozen=True)
class KeptAt:
    """The step whose checkpoint a model is of and its value of the validation metric that decided, and both of the last step.

    n_validations: how often it was validated; once tells nothing of what came of more steps. is_overfit: after that step,
    validation became clearly worse.
    """

    step: int
    steps: int
    metric: str
    value: float
    last: float
    is_overfit: bool
    n_validations: int


Role = Literal["baseline", "base", "tuned", "rival"]
"""rival: one of several models that were trained side by side."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One way to answer. `name` in plain words; `answers` to the test rows; `curves` its measurements while training.

    steps: training steps in all, those of an earlier model it started from included; seconds: spent training them.
    n_rows: the train rows it learned from, when these were not all of them. usual_steps: those that its task proposes, where it had
    far fewer; can_be_smaller: whether there is a smaller preset of it. n_parameters: the size of a model.
    kept_at: where its checkpoint comes from, where it was validated. is_start: it was not trained here, and is what
    another one started from.
    """

    name: str
    role: Role
    answers: Answers | None = None
    curves: Sequence[Measurement] = ()
    steps: int | None = None
    seconds: float | None = None
    n_rows: int | None = None
    usual_steps: int | None = None
    can_be_smaller: bool = False
    n_parameters: int | None = None
    kept_at: KeptAt | None = None
    is_start: bool = False


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What was made, how it was judged, and what came of trying it. Any part may be absent.

    assessment: scores of the made samples and of a choice of them. trials: each with the differences of its arms; that of
    the synthetic data is "synthetic", of the constants "constants". show and show_real: a made sample and a real train row by
    their ids. said: sentences on what was done with them.
    """

    assessment: Mapping[str, Any] | None = None
    trials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    show: Callable[[str], Shown] | None = None
    show_real: Callable[[str], Shown] | None = None
    said: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """What a report is made from. Only `name` and `task` must be given.

    metrics: names in `evaluation.metrics`, the main one first. data: `Manifest.summary()`. systems: in the order of the
    table, cheap baselines first. kept: the name of the system that became the bundle, by default the last one.
    show_test(place) and show_train(place): a name, a MIME type and bytes that show a row of that table. timings: seconds by stage
    (check, pack, train, evaluate). settings: as `Recipe.settings()`, of the kept model; settings_of: the values of each model by
    the name of its system, where several were trained; constants: as of `Task.constants`, of the kept model, all by default.
    french: `Task.french`. mislabels: most doubted first. commands and python: how to use the model, by default made from `path`;
    python_french where a French page has others. groups: of each row of the test table the group that it was kept together by,
    empty where there are none or they are no one's own. at_random: the cheap baselines once more, on train and test rows that
    were dealt out anew without regard to groups. writing: for models that write, by the name of the system: `moments`, what it
    wrote while it was trained, and `habits`, as `task.Writer` has them; window: as of `Writer.window`.
    """

    name: str
    task: str
    path: str = ""
    created: str = ""
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "macro_f1", "top5", "nll", "ece")
    data: Mapping[str, Any] = field(default_factory=dict)
    systems: Sequence[System] = ()
    kept: str = ""
    show_test: Callable[[int], Shown] | None = None
    show_train: Callable[[int], Shown] | None = None
    train_labels: Sequence[Label] = ()
    mislabels: Sequence[Suspect] = ()
    notes: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    items_per_second: float | None = None
    n_parameters: int | None = None
    model_bytes: int | None = None
    threshold: float = 0.0
    threshold_keep: float = 0.95
    settings: Sequence[tuple[str, str, str]] = ()
    settings_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, str] | None = None
    french: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[tuple[str, str]] | None = None
    python: str | None = None
    python_french: str | None = None
    synthesis: Synthesis | None = None
    controls: Sequence[Controlled] = ()
    groups: Sequence[str] = ()
    at_random: Sequence[System] = ()
    writing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    window: Mapping[str, int] | None = None
