"""The Task protocol and the small types that cross it.

A Task is the only thing a new medium implements. Tasks hold no state: everything they need arrives as an argument, so
the same object serves training, evaluation, several threads of a server and worker processes. Medium-blind code knows
a task through this protocol and nothing else.

Axes: B rows of a batch, N rows of a table, C classes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

from ouvroir.source import Source

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.recipe import Recipe, Value
    from ouvroir.rng import Rng
    from ouvroir.sampling import Sampling

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Label = str | tuple[str, ...] | None
"""A class name, several of them (multi-label; may be empty), or none."""

Detail = str | int | float | bool
"""One small fact about a row, such as its width."""

Batch = dict[str, Any]
"""Tensors with a leading axis B. Reserved keys: `weight` (B,) float32, 1 unless the row is synthetic or its class is
weighted; `index` (B,) int64, the place of the row in its table, so that an error can name the row."""

Example = dict[str, "np.ndarray"]
"""One encoded row: arrays of the dtypes and shapes that `Processor.fields` declares."""

Input = Any
"""What a person hands to `predict`: a path, bytes, PIL.Image.Image, numpy array, text, or a mapping. The task says which."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one row may cost while it is opened. `max_elements` counts decoded elements: pixels, samples, characters."""

    max_bytes: int = 256 * 1024**2
    max_elements: int = 100_000_000
    max_seconds: float = 30.0
    max_memory_bytes: int = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look at a row's content told.

    `sha256` is of the content as hex; `near_key` a vector of float32, of the same length for all rows of a task, such
    that near-duplicates have a cosine close to 1 (None: not comparable); `details` small values such as width or mode
    that the task's own `recipe` and the report read; `notes` sentences about oddities that are not refusals. The detail `marks`,
    which few tasks give, has passages found again where files are cut at other places: see `ouvroir.data.marks`.
    """

    sha256: str
    size_bytes: int
    near_key: np.ndarray | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One admitted row of a manifest. `id` is unique in it and readable: the path, or `table.csv#17`.

    `group` rows stay in one split together. `fields` holds further columns that some tasks read.
    """

    id: str
    locator: str
    sha256: str
    label: Label = None
    text: str | None = None
    group: str = ""
    split: Split = "train"
    origin: Literal["real", "synthetic"] = "real"
    weight: float = 1.0
    details: Mapping[str, Detail] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    def source(self, root: str | Path) -> Source:
        """Where to read this row, `root` being the manifest's."""
        return Source(root=str(root), locator=self.locator, text=self.text)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row or file that was refused: its id, a short stable code, and a sentence."""

    id: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a person's attention that refuses no row: `code`, a sentence, and the setting proposed for it.

    `proposal` maps dotted recipe names to values, `{"options.class_weights": "true"}`; empty when nothing is proposed. `prevents`:
    nothing can be learned from the rows because of it, so that training refuses them.
    """

    code: str
    text: str
    proposal: Mapping[str, str] = field(default_factory=dict)
    prevents: bool = False


def options_of(settings: Mapping[str, str]) -> str:
    """Dotted settings as options of a command, quoted so that they can be pasted: `--set 'data.label_separator=;'`."""
    return " ".join(
        f"--from {shlex.quote(value)}" if name == "model.init_from" else f"--set {shlex.quote(f'{name}={value}')}"
        for name, value in settings.items()
    )


@dataclass(frozen=True, slots=True)
class Field:
    """One array of an encoded row: a numpy dtype name and a shape; a first axis of None means ragged."""

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def is_ragged(self) -> bool:
        """Whether rows differ in length along the first axis."""
        return bool(self.shape) and self.shape[0] is None


@dataclass(frozen=True)
class Loss:
    """One loss of a step. `per_row`: (B,) float32, summed over the row's items. `n_items`: (B,) int64."""

    per_row: Tensor
    n_items: Tensor


@dataclass(frozen=True)
class StepOutput:
    """What `Task.step` gives. The loop applies weights, sums, and divides once over micro-batches and ranks.

    The total loss is the sum of `losses`; `outputs` is what answers are made from, e.g. logits (B, C).
    """

    losses: dict[str, Loss]
    outputs: Any = None


@dataclass(frozen=True)
class Answers:
    """What a model answered on rows of a table, as columns of numpy arrays.

    index: (N,) int64, places of the rows in the table; loss: (N,) float64 summed over items; n_items: (N,) int64;
    scores: (N, C) float32 probabilities or None; targets: (N,) int64, or (N, C) uint8 when multi-label, or None;
    labels: the C class names. answered: (N, C) bool, the labels that are given to a row when multi-label, where these are
    not those with a score of 0.5 or more; None elsewhere. n_bytes: (N,) int64, of the text in UTF-8, where a text was told.
    units: (N,) int64, which rows are so alike that an interval counts them as one; None where each stands alone.
    """

    index: np.ndarray
    loss: np.ndarray
    n_items: np.ndarray
    scores: np.ndarray | None = None
    targets: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    answered: np.ndarray | None = None
    n_bytes: np.ndarray | None = None
    units: np.ndarray | None = None

    @property
    def is_multi_label(self) -> bool:
        """Whether a row may have several labels at once."""
        return self.targets is not None and self.targets.ndim == 2


@dataclass(frozen=True)
class Timed:
    """What is answered for a part of an input that lasts, from `begin_s` to `end_s` seconds. `label`: as of `Prediction`."""

    begin_s: float
    end_s: float
    label: str | None
    score: float


@dataclass(frozen=True)
class Prediction:
    """One answer for a person.

    scores: label -> probability, highest first; they sum to 1 unless the task is multi-label. `label` is the answer,
    None when the score stays under the threshold for 'none of these' (multi-label: joined in `labels`).
    `times`: the answer for each part of an input that lasts longer than the model looks at a time, else empty.
    `error` is a sentence when the input could not be read; then nothing else is set.
    """

    scores: dict[str, float] = field(default_factory=dict)
    label: str | None = None
    labels: tuple[str, ...] = ()
    text: str | None = None
    media: bytes | None = None
    mime: str | None = None
    times: tuple[Timed, ...] = ()
    error: str | None = None


class Processor(Protocol):
    """Turns one raw row into one example of arrays. Deterministic; identical in training and serving; saved in every checkpoint.

    Two that do the same compare equal.
    """

    labels: tuple[str, ...]

    def fields(self) -> dict[str, Field]:
        """The arrays that `encode` gives."""

    def encode(self, source: Source, limits: Limits) -> Example:
        """The fixed work on one row, in a worker process. Raises Refused."""

    def to_answer(self) -> Self:
        """The same for answering: where learning takes a part of a long row only, an answer is for all. Most give themselves."""

    def storage_fingerprint(self) -> str:
        """A hash of what `encode` depends on, the version of the library that decodes among it, and nothing else (not
        labels, means or splits): a change re-encodes.
        """

    def save(self, folder: Path) -> None:
        """Write what `Task.load_processor` needs into `folder`, as JSON or safetensors."""


@dataclass(frozen=True)
class Items:
    """What the draws of an epoch are. Every array has one element per item.

    row: (M,) int64 place in the table; start and length: (M,) int64 where an item is a window of a row; lead: (M,) int64 elements
    at the beginning of a window that are there to be seen only, since another window answers for them; stratum: (M,) int64 class of
    the item, for balanced sampling.
    """

    row: np.ndarray
    start: np.ndarray | None = None
    length: np.ndarray | None = None
    lead: np.ndarray | None = None
    stratum: np.ndarray | None = None


@dataclass(frozen=True)
class Cheap:
    """One cheap way to answer, for the report's table: a name in plain words, and its answers.

    `n_rows`: the train rows it learned from, when these were not all of them.
    """

    name: str
    answers: Answers
    n_rows: int | None = None


class Rendering(NamedTuple):
    """A row as a person sees, reads or hears it: MIME type and bytes; `picture`, a PNG of what cannot be seen, or empty."""

    mime: str
    content: bytes
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Control:
    """Something that can be taken from the rows of a test, to see whether a model needs it.

    `text` says what is left, in English, with a capital letter and without a full stop; `Task.french` has it in French. `take`
    gives a prepared batch without it, the rows being as many and in the same order; `rng` is that of `prepare`.
    """

    name: str
    text: str
    take: Callable[[Batch, Rng], Batch]


@dataclass(frozen=True)
class Made:
    """One sample that a generator made: the suffix of its file, and the content, which says of itself that it is synthetic."""

    suffix: str
    content: bytes


@runtime_checkable
class Task(Protocol):
    """One objective on one medium. Registered in `ouvroir.media`, or named as `module:Class` from anywhere.

    A Task may not move tensors to a device, touch the optimiser, write files other than through its processor, read the
    command line, or look at the clock or a global random generator. Importing its module and the methods that run in
    workers (`inspect`, and the processor's `encode`) must not load torch.
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    """A frozen dataclass: the settings that only this task has."""
    suffixes: ClassVar[frozenset[str]]
    """Suffixes of the files it reads, in lower case and with the dot. A task of the registry takes them from its entry."""
    limits: ClassVar[Limits]
    """What one row may cost while it is opened."""
    reads_text: ClassVar[bool]
    """Whether the content of a row may be a cell of a table, and not only a file that the table names."""
    needs_labels: ClassVar[bool]
    """Whether it learns from labels, two or more of them; rows without one are then refused at admission."""
    loop: ClassVar[Literal["fit", "adversarial"]]
    draw: ClassVar[str]
    """What one draw of `items` is called, of which steps take many: mostly a row."""
    synthesiser: ClassVar[str | None]
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]]
    """Axes of the inputs of an exported model that may be of any size, beside that of the rows: input, axis, and its name."""
    controls: ClassVar[tuple[Control, ...]]
    """What is taken away for controls: the test is answered once more for each, and the report shows what that costs."""
    french: ClassVar[Mapping[str, str]]
    """The sentences of its notes, refusals and options in French; `evaluation.french` says how they are written.

    What is missing there is told in a French report by its code only.
    """

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """Names in `evaluation.metrics`, the first of which chooses the best checkpoint."""

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one row at admission, in a worker. Raises Refused."""

    def decoder(self) -> str:
        """The libraries that `inspect` opens rows with, and their versions; '' for none. Rows are looked at again by another."""

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Why an answer for `row` could not be judged, in a few words such as "no label"; None when it can."""

    def notes_on(self, rows: Sequence[Row]) -> list[Note]:
        """What a person should know of admitted rows before training, beside what is said of those of all tasks; mostly none."""

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for this data, and what a person should know of the choices made.

        `init_from` is "scratch", or a hub name or folder of pretrained weights that are not Ouvroir's own.
        """

    def suited(self, recipe: Recipe, manifest: Manifest) -> Recipe:
        """The recipe with the rates and the length that suit its options, where a person chose others than were proposed."""

    def rivals(self, recipe: Recipe, manifest: Manifest) -> Mapping[str, Mapping[str, Value]]:
        """Ways to build a model of these data that the main job trains side by side, each a name and settings; mostly none.

        Where there are none, it trains one model and fine-tunes it.
        """

    def reads_weights(self, init_from: str) -> bool:
        """Whether `init_from` names pretrained weights, not Ouvroir's own, that a model can start from: a folder or a hub name."""

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """The recipe proposed to fine-tune a model that `recipe` trained: gentler rates, less augmentation.

        It is for the same data, or for those of `manifest`: then batch, epochs and rates start from what `self.recipe`
        proposes for these, and what `recipe` has made gentle already is not made so twice.
        """

    def augments(self, recipe: Recipe) -> bool:
        """Whether `prepare` changes anything in training; when not, features of frozen parts may be cached."""

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> Processor:
        """Learn labels, tokenizer and the like from the TRAIN rows of `manifest`.

        `earlier`: the processor of the model to start from. What its weights rest on is kept: a tokenizer, how values are
        scaled; not the labels.
        """

    def load_processor(self, folder: Path) -> Processor:
        """Read what `Processor.save` wrote."""

    def worked_out(self, processor: Processor) -> Mapping[str, Value]:
        """The settings that the processor settled, by their dotted names: a report shows these values, not what was asked for."""

    def targets(self, rows: Sequence[Row], processor: Processor) -> dict[str, np.ndarray]:
        """Columns made from the rows themselves, once: `labels` (N,) int64 or (N, C) float32. Empty for no labels."""

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """What one draw is: a row, a window of tokens, a clip."""

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Put what is learned from train data without gradients into the model, e.g. mean and deviation as buffers."""

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """A model with initial or pretrained weights, on the CPU. Draws from torch's global generator, which is seeded."""

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load the weights of an earlier model of this task, whose classes were `labels`, as far as they fit.

        Classes are mapped by name. Returns sentences that say what was kept, mapped and new.
        """

    def network(self, recipe: Recipe) -> str:
        """What kind of network a model of the recipe is, in a few words with an article, such as "an LSTM"."""

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """Of φ, π, 1/137 and −1/12 those that act in a model of the recipe, by name, and a sentence on what each does there.

        The names are those of `ouvroir.constants.ALL`; `french` has the sentences in French where they are the task's own.
        """

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """Ordered named stages, input first, together holding all parameters: scopes, rates, cached features."""

    def collate(self, rows: TableSlice) -> Batch:
        """A batch of tensors from a slice; no per-row Python."""

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """On the device, whole batch: augment if training. Normalising is the model's own, so that exports carry it."""

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Forward pass and losses. A batch with `features` starts at the first part after those that made them."""

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`, (B, ...): what is cached when these are frozen."""

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """Answers for the rows of one prepared batch, on the CPU."""

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """The cheap ways of the report, the most trivial first: majority class, logistic regression on simple features.

        They learn from the train rows of `tables`, may choose by those of validation, and answer for the test. `recipe` is that of
        the model which they stand beside. What they calculate with torch has one thread.
        """

    def as_source(self, given: Input) -> Source:
        """What a person hands in as a Source that `Processor.encode` opens, here or in a worker: a path, bytes, an array...

        Opens no file itself. `source_of` knows paths and bytes. Raises UsageError for what this task does not take, Refused.
        """

    def predict(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        examples: Sequence[Example],
        *,
        device: str,
        threshold: float,
    ) -> list[Prediction]:
        """Answers for one or more encoded rows, same length and order."""

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """Example arguments, B = 2, named as the arguments of the model's `forward`, for ONNX export."""

    def sample(self, folder: Path) -> int:
        """Write a small real data set into the new folder `folder`, to try things on. Returns the number of files."""

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """What shows a row to a person, for reports: a few kilobytes."""


@dataclass(frozen=True)
class Moment:
    """What a stream shows now: the newest of it that a model looks at, encoded, or why there is nothing.

    at_s: seconds of the stream; seen_s: `time.monotonic()` when the newest part of `example` came; n_dropped: parts that passed
    without being in any example, since the moment before; said: what happened to the stream, as a sentence.
    """

    at_s: float
    seen_s: float
    example: Example | None = None
    n_dropped: int = 0
    said: str = ""


@runtime_checkable
class Streamer(Task, Protocol):
    """A Task whose rows can be taken from something that goes on, such as a webcam."""

    def follow(self, address: str, processor: Processor, *, every_s: float) -> Generator[Moment, None, None]:
        """The newest part of the stream at `address`, at least `every_s` seconds of it after the one before, until it ends.

        Who asks late gets what is new then. Closing the generator closes the stream. Raises DataError, MissingExtra.
        """


NO_ANSWERS = (
    "This model makes samples and answers nothing about files: `ouvroir generate RUN` makes some, and one of texts goes on with "
    "`--prompt TEXT`."
)
"""What a Synthesiser says that is asked for answers."""


@runtime_checkable
class Synthesiser(Task, Protocol):
    """A Task whose model makes new samples of the kind that it learned from, of a class or of none."""

    varies: ClassVar[bool]
    """Whether `make` takes parents, so that a sample may be a variation of a row."""

    def make(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        labels: Sequence[str | None],
        *,
        seed: int,
        device: str,
        parents: Sequence[Example] | None = None,
        begin: float = 0.0,
    ) -> Iterator[Made]:
        """One sample for each of `labels`, in their order; None is of no class. Raises UsageError for a class it does not know.

        Sample i is a function of the seed, of i and of its label; not of how many are asked for. `parents`, one encoded row
        for each label, has each sample be a variation of its parent, `begin` in [0, 1) saying how close: 0 keeps nothing.
        """

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """Mixtures of encoded rows, each with `share` of the first: what is made without any model, to set beside samples."""

    def views(self, rows: TableSlice) -> Tensor:
        """(B, V, D) float32: each row and, beside it, the row moved a little, small enough to compare thousands.

        The first view is the row itself. Two rows of which one is a copy of the other, moved by a little, have views that are
        nearly equal: it is how copies of what was learned from are noticed.
        """

    def passages(self, asked: Table, known: Table, *, is_itself: bool) -> np.ndarray:
        """(N,) in [0, 1]: the share of each row of `asked` that is one passage of a single row of `known`; 0 for what has none.

        With `is_itself` they are the same rows, and each is looked for in the others.
        """


@dataclass(frozen=True)
class Carried:
    """What was found when a model in another format was asked what the model itself was: `n_items` of the kind `items`.

    largest_difference: of a probability; agreement: of each file that is less exact, the share of places where it holds the same
    for the most likely; remarks: sentences on what a person should know of it.
    """

    n_items: int
    items: str
    largest_difference: float
    agreement: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


NO_WRITER = "This model writes no texts that go on from a prompt: models of text-generation do."
"""What is said of any other that is asked to go on with a prompt."""


@runtime_checkable
class Writer(Synthesiser, Protocol):
    """A Synthesiser of texts, which goes on with the beginning of one.

    An export of it is proved by the probabilities that it gives for what comes next, and not by answers.
    """

    def write(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        prompts: Sequence[str],
        *,
        how: Sampling,
        label: str | None,
        seed: int,
        device: str,
    ) -> Iterator[tuple[int, str]]:
        """Which prompt, and the text that goes on with it, as it comes; the same seed gives the same text.

        label: the class of all of them. Raises UsageError for a class that is not known.
        """

    def export_questions(self, processor: Processor, rows: TableSlice) -> Iterator[Batch]:
        """What a model and its export are both asked, made of encoded rows: arguments of the model's `forward`, by name.

        Batches of several sizes, the first of one alone. `forward` gives logits, the last axis of which is what may come next.
        """

    def export_facts(self, processor: Processor) -> dict[str, Any]:
        """Plain values that whoever uses an exported file needs: what is known of the numbers that go in and come out.

        Among them `outputs`: dtype and shape of each by name, as `inputs` are told.
        """

    def export_beside(self, processor: Processor, folder: Path) -> dict[str, Any]:
        """Write into the folder of exported weights what texts become numbers with. Returns plain values for `export.json`."""

    def export_page(self, processor: Processor) -> Sequence[str]:
        """For README.md beside a graph: blocks of Markdown on how texts become what goes in, and with Python that asks it."""

    def remarks(self, processor: Processor, recipe: Recipe, prompts: Sequence[str]) -> list[str]:
        """What a person should know of how these prompts are read, as sentences."""

    def window(self, processor: Processor) -> Mapping[str, int]:
        """How a text is told when it is judged: `context`, pieces of a window, and `stride`, by how many these begin apart."""

    def habits(
        self, model: nn.Module, processor: Processor, recipe: Recipe, tables: Mapping[Split, Table], *, device: str
    ) -> dict[str, Any]:
        """Plain values for the report, of texts that the model writes beside real ones, as long, that it did not learn from.

        texts: how many, and `pieces` of them on average; searched: the share of the train rows that passages were looked for in;
        repetition: share of runs of pieces that stood in the same text before; copied: characters of the longest passage that
        stands in a train row, and `passage` itself; of both also `..._real`. expected: what is held for likely at some places of
        the test: `before`, `then` with its `share`, and `candidates` with theirs.
        """
