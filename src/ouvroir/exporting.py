"""Other formats, and the gate in front of them: held-out rows are replayed through the exported file before it is called done.

    pth     the state dict, for torch.load(weights_only=True)
    onnx    the graph with normalising inside, for ONNX Runtime and others
    hf      the folder that transformers loads, for architectures that it knows
    gguf    files that llama.cpp and what is built on it load, for models that write

Beside each lie README.md and, for programs, `export.json`: how to use the file, and what the gate found. A file that fails
the gate never gets its final name; it is kept under a name that says so.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from ouvroir import __version__, export_page, onnx_graph
from ouvroir import bundle as bundles
from ouvroir.errors import DataError, ExportError, MissingExtra, OuvroirError, UsageError
from ouvroir.export_page import FORMATS, Format, Loading
from ouvroir.files import disk_errors, readable_size, require_space, whole_file, whole_folder, write_json, write_text
from ouvroir.media import find_task
from ouvroir.predictor import model_folder
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Recipe
from ouvroir.run import DEFAULT_ROOT, Run
from ouvroir.source import Source
from ouvroir.task import Batch, Carried, Processor, Task, Writer
from ouvroir.workflow import kept_manifest

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ouvroir.data.table import TableSlice
    from ouvroir.replay import Forward, Replay
    from ouvroir.task import Answers

N_ITEMS = 200
N_FILES = 16  # of them that also go through the preprocessing of the exported folder
TOLERANCE: dict[Format, float] = {"pth": 1e-5, "hf": 1e-4, "onnx": 1e-3, "gguf": 1e-3}
"""Of a probability; pth is the same arithmetic, and of several files of gguf it is the most exact one that is meant."""
_INSTEAD = "Use --to onnx to run without Ouvroir, or --to pth for the weights."
_OF_WRITERS: onnx_graph.Activation = "softmax"  # what they give is logits of what comes next
AGING_TOLERANCE = 5e-3  # of a bundle's own answers, on another machine with other versions
NOTE = "export.json"


@runtime_checkable
class ForHuggingFace(Protocol):
    """What a task adds when some of its models are architectures of the transformers library."""

    hf_load: ClassVar[str]
    """Lines of Python that load such a folder with `transformers` and ask it, `{place}` standing for the folder in quotes."""

    def require_hf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError saying why this model cannot be written so, if it cannot."""

    def to_hf(self, model: nn.Module, processor: Processor, recipe: Recipe, folder: Path) -> None:
        """Write what `from_pretrained` reads, of a model that `require_hf` lets pass."""

    def from_hf(self, folder: Path, processor: Processor) -> Forward:
        """Load that folder with transformers; gives a function from a prepared batch to `StepOutput.outputs`."""

    def check_hf(self, folder: Path, processor: Processor, sources: Sequence[Source]) -> None:
        """Open files with the preprocessing that the folder names. Raises ExportError when `Processor.encode` gives others."""


@runtime_checkable
class ForLlamaCpp(Protocol):
    """What a Writer adds when some of its models are architectures of llama.cpp."""

    def require_gguf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError saying why this model cannot be written so, if it cannot."""

    def to_gguf(self, model: nn.Module, processor: Processor, folder: Path) -> None:
        """Write one file for each precision, of a model that `require_gguf` lets pass."""

    def check_gguf(
        self, model: nn.Module, processor: Processor, folder: Path, rows: TableSlice, tolerance: float
    ) -> Carried:
        """Ask these files through llama.cpp what the model is asked too, made of encoded rows. Raises ExportError."""


@dataclass(frozen=True)
class ExportResult:
    """An export that passed the gate: `largest_difference` of a probability over `n_items` rows, whose kind is said.

    `agreement` and `remarks`: as of `task.Carried`. `use`: lines of Python that load it, to be pasted as they are.
    """

    path: str
    format: Format
    size_bytes: int
    n_items: int
    items: str
    largest_difference: float
    tolerance: float
    agreement: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    use: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Where the file is and what the gate found."""
        found = Carried(self.n_items, self.items, self.largest_difference, self.agreement, self.remarks)
        return f"{self.path} ({readable_size(self.size_bytes)}) {_found(found)}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "sentence": self.sentence}


@dataclass(frozen=True)
class _Model:
    """What is exported, with the questions for the gate and the model's own answers; None of a Writer, which gives none."""

    task: Task
    model: nn.Module
    processor: Processor
    recipe: Recipe
    items: Replay
    answers: Answers | None
    activation: onnx_graph.Activation
    threshold: float


def export(
    source: str | Path,
    to: Format,
    folder: str | Path | None = None,
    *,
    runs: str | Path = DEFAULT_ROOT,
    progress: Progress = QUIET,
) -> ExportResult:
    """Write the model of a run or bundle as `<folder>/<to>/`, by default in `export/` beside the bundle.

    At most 200 held-out rows are replayed through the file: any other label, or a probability that differs by more than
    TOLERANCE, raises ExportError naming the rows. Raises UsageError, MissingExtra, DiskFull, CheckpointError too.
    """
    if to not in FORMATS:
        raise UsageError(f"There is no format `{to}`. There are: {', '.join(FORMATS)}.")
    place, run = model_folder(source, runs=runs)
    root = Path(folder) if folder is not None else (run.path if run else place.parent) / "export"
    target = root.absolute() / to
    _refuse_others_files(target)
    opened = _open(place, run, to, progress)
    require_space(target, 2 * (place / "model.safetensors").stat().st_size, f"Exporting to {to}")
    progress.say(f"Writing {FORMATS[to]}, then replaying {len(opened.items)} {opened.items.kind} through it.")
    if to == "hf" and not opened.items.sources:
        progress.say("No original file is at hand, so the preprocessing that the folder names is not tried on any.")
    with whole_folder(target) as written:
        file = _WRITERS[to](opened, written)
        _write_note(opened, to, written, file, _beside(opened, to, written))
        with _marked_if_broken(written, target):
            found = _gate(opened, to, file)
        _write_page(opened, to, written, file, found)
        result = ExportResult(
            path=str(target if file == written else target / file.name),
            format=to,
            size_bytes=sum(path.stat().st_size for path in written.rglob("*") if path.is_file()),
            n_items=found.n_items,
            items=found.items,
            largest_difference=found.largest_difference,
            tolerance=TOLERANCE[to],
            agreement=found.agreement,
            remarks=found.remarks,
            use=_loading(opened, to, str(target if file == written else target / file.name)).lines,
        )
        note = json.loads((written / NOTE).read_text(encoding="utf-8"))
        write_json(written / NOTE, {**note, "gate": {**result.as_dict(), "path": None, "use": None}})
    return result


def _found(found: Carried) -> str:
    """What the gate found, of what goes before."""
    said = (
        f"answers like the model on all {found.n_items} {found.items}; "
        f"the largest difference of a probability is {found.largest_difference:.1g}."
    )
    return " ".join([said, *found.remarks])


def _refuse_others_files(target: Path) -> None:
    if target.exists() and not (target / NOTE).is_file():
        raise UsageError(
            f"{target} is there and was not written by an export. Choose another --folder, or move it away."
        )


@contextmanager
def _marked_if_broken(written: Path, target: Path) -> Iterator[None]:
    """Keep files that fail the gate as `<target>.failed`, for whoever looks for the reason."""
    try:
        yield
    except ExportError as error:
        failed = target.with_name(f"{target.name}.failed")
        with disk_errors(failed):
            if (failed / NOTE).is_file():
                shutil.rmtree(failed)
            if failed.exists():
                raise
            written.rename(failed)
        raise ExportError(f"{error} Nothing was exported; the files that failed are in {failed}.") from error


# ---------------------------------------------------------------- the model and the questions


def _open(place: Path, run: Run | None, to: Format, progress: Progress) -> _Model:
    from ouvroir import replay
    from ouvroir.training.checkpoint import load_model, read_recipe

    bundle = bundles.load_bundle(place) if bundles.is_bundle(place) else None
    task = find_task(bundle.task if bundle else read_recipe(place).task)
    if to in _SPECIAL:
        _SPECIAL[to](task)
    model, processor, recipe = load_model(task, place)
    try:
        _require_special(task, to, model, processor)
    except UsageError as error:
        if (other := _other_that_can(task, to, run or Run(place))) is None:
            raise
        why = str(error).partition(". ")[0].rstrip(".")
        raise UsageError(
            f"{why}. The {other.name} model of the same job can be written so: `ouvroir export {shlex.quote(str(other.path))} "
            f"--to {to}`. {_INSTEAD}"
        ) from error
    _require_installed(to)
    recipe = run.recipe() if run else recipe
    kept = bundle.check_items() if bundle else None
    if kept is not None and kept.scores is not None:
        own = replay.answer(task, model, processor, recipe, kept)
        replay.require_same(own.scores, kept.scores, kept, AGING_TOLERANCE, "The model itself, before any export,")
    items = _items(task, processor, recipe, place, kept, progress)
    answers, activation = None, _OF_WRITERS
    if not isinstance(task, Writer):
        answers = replay.answer(task, model, processor, recipe, items)
        if answers.scores is None:
            raise UsageError(
                f"Models of the task {recipe.task} give no probabilities to compare, so they cannot be exported yet."
            )
        activation = _find_activation(task, model, processor, recipe, items)
    return _Model(
        task=task,
        model=model,
        processor=processor,
        recipe=recipe,
        items=items,
        answers=answers,
        activation=activation,
        threshold=bundle.threshold if bundle else 0.0,
    )


def _require_special(task: Task, to: Format, model: nn.Module, processor: Processor) -> None:
    """Raise UsageError, saying what to do instead, where a format is not for such a model."""
    if to == "hf":
        _huggingface(task).require_hf(model, processor)
    elif to == "gguf":
        _llama_cpp(task).require_gguf(model, processor)


def formats_of(
    task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay | None
) -> tuple[Format, ...]:
    """The formats that a model can be written in, also where this machine lacks what writes them.

    `items`: rows to prove that by, with the model's own probabilities if it gives any; without them there is no format.
    """
    if items is None or not _can_be_proved(task, model, processor, recipe, items):
        return ()
    found: list[Format] = []
    for to in FORMATS:
        with suppress(OuvroirError):
            _require_special(task, to, model, processor)
            found.append(to)
    return tuple(found)


def _can_be_proved(task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay) -> bool:
    """Whether a model gives what an export is compared by: what comes next, or probabilities that a file can carry."""
    if isinstance(task, Writer):
        return True
    if items.scores is None:
        return False
    try:
        _find_activation(task, model, processor, recipe, items)
    except ExportError:
        return False
    return True


def _other_that_can(task: Task, to: Format, run: Run) -> Run | None:
    """Another model of the job that a run or a model is of, which can be written in a format; None where there is none."""
    from ouvroir.training.checkpoint import load_model

    for other in run.whole.models:
        if other.path == run.path:
            continue
        with suppress(OuvroirError):
            model, processor, _ = load_model(task, other.checkpoint("best"))
            _require_special(task, to, model, processor)
            return other
    return None


def _items(
    task: Task, processor: Processor, recipe: Recipe, place: Path, kept: Replay | None, progress: Progress
) -> Replay:
    """Up to 200 rows from their files; when these are gone, those that the bundle in `place` keeps, or those packed.

    Raises ExportError.
    """
    from ouvroir import replay

    try:
        manifest = kept_manifest(recipe, near=place)
        try:
            found = replay.from_manifest(task, processor, manifest, N_ITEMS)
        except DataError:
            if kept is not None:
                raise
            found = replay.from_pack(task, processor, manifest, N_ITEMS)
            progress.say(
                f"The files of this model are not in {manifest.root} any more; their packed rows serve instead."
            )
    except DataError as error:
        if kept is None:
            raise ExportError(
                "There is nothing to prove the export with: the data are gone and the bundle keeps no rows. "
                "Put the data back where they were and run `ouvroir check` on them, or train again."
            ) from error
        progress.say(f"The data of this model cannot be read here. {error} The rows kept in the bundle serve instead.")
        return kept
    return found if kept is None or len(found) >= len(kept) else kept


def _find_activation(
    task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay
) -> onnx_graph.Activation:
    """How the task makes probabilities of what the model gives, found by trying. Raises ExportError when no way fits."""
    import torch

    from ouvroir import replay

    output, answers = next(replay.each_answer(task, model, processor, recipe, items))
    assert answers.scores is not None
    scores = torch.from_numpy(answers.scores)
    outputs = output.outputs
    if isinstance(outputs, torch.Tensor) and outputs.shape == scores.shape:
        ways: dict[onnx_graph.Activation, Tensor] = {
            "none": outputs,
            "softmax": outputs.softmax(-1),
            "sigmoid": outputs.sigmoid(),
        }
        for name, values in ways.items():
            if torch.allclose(values.float(), scores, atol=1e-5):
                return name
    raise ExportError(
        f"The task {recipe.task} makes its probabilities in a way that an exported file cannot carry: "
        "they are neither the model's outputs nor their softmax or sigmoid."
    )


# ---------------------------------------------------------------- writing


def _write_pth(opened: _Model, folder: Path) -> Path:
    import torch

    path = folder / "model.pth"
    content = io.BytesIO()  # torch's own writer does not say when a disk is full
    torch.save({name: tensor.detach().contiguous() for name, tensor in opened.model.state_dict().items()}, content)
    with whole_file(path) as file:
        file.write(content.getbuffer())
    return path


def _write_onnx(opened: _Model, folder: Path) -> Path:
    path = folder / "model.onnx"
    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in _facts(opened).items()}
    inputs = opened.task.export_inputs(opened.processor)
    axes = opened.task.export_axes
    onnx_graph.write_graph(opened.model, inputs, path, activation=opened.activation, facts=facts, axes=axes)
    return path


def _write_hf(opened: _Model, folder: Path) -> Path:
    from ouvroir.training.tensors import errors_as_os

    task = _huggingface(opened.task)
    with disk_errors(folder), errors_as_os():
        task.to_hf(opened.model, opened.processor, opened.recipe, folder)
    return folder


def _huggingface(task: Task) -> ForHuggingFace:
    if not isinstance(task, ForHuggingFace):
        raise UsageError(f"Models of the task {task.name} are no architecture of the transformers library. {_INSTEAD}")
    return task


def _write_gguf(opened: _Model, folder: Path) -> Path:
    task = _llama_cpp(opened.task)
    with disk_errors(folder):
        task.to_gguf(opened.model, opened.processor, folder)
    return folder


def _llama_cpp(task: Task) -> ForLlamaCpp:
    if not isinstance(task, ForLlamaCpp):
        raise UsageError(
            f"Models of the task {task.name} write no texts, which is all that llama.cpp is for. {_INSTEAD}"
        )
    return task


_WRITERS: dict[Format, Callable[[_Model, Path], Path]] = {
    "onnx": _write_onnx,
    "pth": _write_pth,
    "hf": _write_hf,
    "gguf": _write_gguf,
}
_SPECIAL: dict[Format, Callable[[Task], object]] = {"hf": _huggingface, "gguf": _llama_cpp}
"""What raises UsageError where no model of a task can be written so."""
_NEEDS: dict[Format, tuple[tuple[tuple[str, ...], ...], str]] = {
    "onnx": ((("onnx",), ("onnxscript",), ("onnxruntime",)), "export"),
    "pth": ((), ""),
    "hf": ((("transformers",),), "pretrained"),
    "gguf": ((("gguf",), ("xllamacpp", "llama_cpp")), "gguf"),
}
"""Modules that write and prove the format, one of each group, and the extra that brings them."""


def _require_installed(to: Format) -> None:
    """Raise before any work when this machine lacks what writes the format."""
    import importlib.util

    groups, extra = _NEEDS[to]
    for modules in groups:
        if not any(importlib.util.find_spec(module) for module in modules):
            raise MissingExtra(f"The format {to} (through {modules[0]})", extra)


def _facts(opened: _Model) -> dict[str, Any]:
    example = opened.task.export_inputs(opened.processor)
    found = {
        "ouvroir": __version__,
        "task": opened.recipe.task,
        "labels": list(opened.processor.labels),
        "inputs": {
            name: {"dtype": str(value.dtype).removeprefix("torch."), "shape": _shape_told(opened.task, name, value)}
            for name, value in example.items()
        },
        "probabilities": {"none": "the outputs", "softmax": "softmax(logits)", "sigmoid": "sigmoid(logits)"}[
            opened.activation
        ],
    }
    if isinstance(opened.task, Writer):
        return {**found, **opened.task.export_facts(opened.processor)}
    names = ["probabilities"] if opened.activation == "none" else ["logits", "probabilities"]
    shape = ["batch", len(opened.processor.labels)]
    return {
        **found,
        "outputs": {name: {"dtype": "float32", "shape": shape} for name in names},
        "threshold": opened.threshold,
    }


def _shape_told(task: Task, name: str, value: Tensor) -> list[int | str]:
    """The size of each axis of an input, or its name where it is open."""
    named = {0: "batch", **task.export_axes.get(name, {})}
    return [named.get(axis, size) for axis, size in enumerate(value.shape)]


def _beside(opened: _Model, to: Format, folder: Path) -> dict[str, Any]:
    """Write what the format itself has no place for, and give what is told of it."""
    if not isinstance(opened.task, Writer) or to not in ("onnx", "pth"):  # the others have their own tokenizers
        return {}
    with disk_errors(folder):
        return opened.task.export_beside(opened.processor, folder)


def _write_note(opened: _Model, to: Format, folder: Path, file: Path, beside: Mapping[str, Any]) -> None:
    note = {
        **_facts(opened),
        **beside,
        "format": to,
        "file": file.name if file != folder else None,
        "opset": onnx_graph.OPSET if to == "onnx" else None,
        "load": _loading(opened, to, file.name if file != folder else ".").lines,
        "recipe": bundles.portable(opened.recipe).to_dict(),
    }
    write_json(folder / NOTE, note)


def _loading(opened: _Model, to: Format, place: str) -> Loading:
    """How what was written at `place` is loaded."""
    example = opened.task.export_inputs(opened.processor)
    sizes = {name: (1, *value.shape[1:]) for name, value in example.items()}
    hf = _huggingface(opened.task).hf_load if to == "hf" else ""
    return export_page.loading(to, place, _facts(opened), sizes, hf)


def _write_page(opened: _Model, to: Format, folder: Path, file: Path, found: Carried) -> None:
    task = opened.task
    text = export_page.page(
        to,
        _facts(opened),
        network=task.network(opened.recipe),
        how=_loading(opened, to, file.name if file != folder else "."),
        asked=task.export_page(opened.processor) if isinstance(task, Writer) and to == "onnx" else (),
        context=task.window(opened.processor)["context"] if isinstance(task, Writer) and to in ("hf", "gguf") else None,
        checked=f"It {_found(found)}",
    )
    write_text(folder / export_page.PAGE, text)


# ---------------------------------------------------------------- the gate


def _gate(opened: _Model, to: Format, file: Path) -> Carried:
    """Ask the exported file what the model was asked. Raises ExportError."""
    from ouvroir import replay

    task, items, tolerance = opened.task, opened.items, TOLERANCE[to]
    if to == "gguf":
        found = _llama_cpp(task).check_gguf(opened.model, opened.processor, file, items.rows, tolerance)
        return replace(found, items=f"{found.items} of {items.kind}")
    model, forward = opened.model, None
    if to == "pth":
        model = _read_pth(opened, file)
    elif to == "onnx":
        forward = _read_onnx(opened, file)
    else:
        forward = _huggingface(task).from_hf(file, opened.processor)
        some = [items.sources[place] for place in replay.spread(len(items.sources), N_FILES)]
        _huggingface(task).check_hf(file, opened.processor, some)
    if isinstance(task, Writer):
        ask = forward or (lambda batch: model.eval()(**batch))
        who = "The exported file"
        n_asked, worst = replay.require_same_next(task, opened.model, opened.processor, items, ask, tolerance, who)
        return Carried(n_asked, f"windows of {items.kind}", worst)
    assert opened.answers is not None
    answers = replay.answer(task, model, opened.processor, opened.recipe, items, forward=forward)
    worst = replay.require_same(answers.scores, opened.answers.scores, items, tolerance, "The exported file")
    return Carried(len(items), items.kind, worst)


def _read_pth(opened: _Model, file: Path) -> nn.Module:
    import pickle

    import torch

    from ouvroir.training.checkpoint import empty_model

    model = empty_model(opened.task, opened.processor, opened.recipe)
    try:
        model.load_state_dict(torch.load(file, weights_only=True), strict=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ExportError(f"The exported file does not load: {error}.") from error
    return model


def _read_onnx(opened: _Model, file: Path) -> Forward:
    """The exported graph as a function from a prepared batch to logits; it must also agree with its own probabilities."""
    import torch

    example = opened.task.export_inputs(opened.processor)
    ask = onnx_graph.read_graph(file)

    def forward(batch: Batch) -> Any:
        inputs = {name: batch[name].to(value.dtype).contiguous().numpy() for name, value in example.items()}
        outputs = ask(inputs)
        _check_probabilities(opened, outputs)
        return torch.from_numpy(outputs[0])

    return forward


def _check_probabilities(opened: _Model, outputs: list[np.ndarray]) -> None:
    import torch

    logits, probabilities = torch.from_numpy(outputs[0]), torch.from_numpy(outputs[-1])
    if opened.activation != "none":
        logits = logits.softmax(-1) if opened.activation == "softmax" else logits.sigmoid()
    if not torch.allclose(logits, probabilities, atol=TOLERANCE["onnx"]):
        raise ExportError("The two outputs of the exported file contradict each other.")
