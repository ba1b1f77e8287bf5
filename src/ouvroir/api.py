"""The verbs of Ouvroir in Python. The command line calls these and nothing below.

Long work takes `progress`, where it tells of itself: silent by default, `ouvroir.SHOWN` prints lines. All raise
OuvroirError with a sentence. Heavy libraries load inside the functions that need them.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ouvroir import planning, single_job, workflow
from ouvroir.arms import Arm
from ouvroir.data.listing import readable_name
from ouvroir.errors import OuvroirError, Untried, UsageError
from ouvroir.files import disk_errors, make_folder
from ouvroir.media import find_task
from ouvroir.options import Language, Training, Workplace, answers, has_report, is_judged, makes
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Recipe, Value, check_settings, read_data
from ouvroir.run import DEFAULT_ROOT, Run
from ouvroir.task import NO_ANSWERS, Split, Synthesiser

if TYPE_CHECKING:
    from ouvroir.comparing import Evaluation, ModelComparison
    from ouvroir.data.manifest import Manifest
    from ouvroir.exporting import ExportResult
    from ouvroir.forecast import Forecast
    from ouvroir.generating import Generated
    from ouvroir.predictor import Predictor
    from ouvroir.proving import Proof
    from ouvroir.sampling import Sampling
    from ouvroir.streaming import Rolling
    from ouvroir.task import Input, Prediction

SAMPLES = 10
"""Samples of each class that are made unless said otherwise."""


def check(
    source: str | Path,
    *,
    task: str | None = None,
    settings: Mapping[str, Value] | None = None,
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Manifest:
    """Account for every file of a folder, a table or a zip, and save the manifest.

    `settings` are `data.*` names, e.g. {"data.group_pattern": "^([a-z]+)_"}. Nothing of the user's is written.
    Raises DataError, RecipeError.
    """
    check_settings(settings or {}, sections=("data",))
    if task is not None:
        find_task(task, is_asked_for=True)
    return workflow.admit(source, task, read_data(settings or {}), workers=workers, progress=progress)


def train(
    source: str | Path,
    *,
    task: str | None = None,
    preset: str = "small",
    init_from: str = "scratch",
    minutes: float | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Value] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Train on a folder, judge the model on data it has not seen, and leave a run with a bundle and a report.

    `settings`: dotted names, e.g. {"loop.steps": 200, "constants.phi": "off"}; values as on the command line or in Python.
    `language`: of the report, now and when it is written again; English when None.
    `init_from`: "scratch", a run, a bundle, a folder of pretrained weights or a hub name: fine-tuning is this setting. From a run
    on whose data samples were admitted, on the same data, these are learned from too, unless loop.synthetic_share is 0.
    """
    from ouvroir.admitting import with_admitted
    from ouvroir.training.distributed import join, resolve_device

    training = Training(source, task, preset, init_from, minutes, recipe, settings or {})
    at = Workplace(Path(runs), device, workers, language, progress)

    in_use: list[Manifest] = []  # to the end, so that it is not read again

    def begin() -> Run:
        made, manifest = planning.plan_training(training, at)
        if made.model.init_from != "scratch":
            made, manifest = with_admitted(made, manifest, at, share=training.overrides.get("loop.synthetic_share"))
        in_use.append(manifest)
        run = Run.create(made, at.runs, name=Path(manifest.source).stem)
        run.keep_language(at.language)
        return workflow.keep_manifest(run, manifest)

    with join(resolve_device(device)) as world:
        run = workflow.once(world, begin)
        progress.say(f"The run is {run.path}. If it is stopped, `{run.way_on}` goes on.")
        return single_job.to_the_end(run, at, resume=False)


def finetune(model: str | Path, source: str | Path, *, scope: str = "all", **others: Any) -> Run:
    """Train from an earlier model: `train(source, init_from=model)` with `scope` all, head, last:N or names of parts.

    Takes the other options of `train`.
    """
    settings = {**(others.pop("settings", None) or {}), "model.scope": scope}
    return train(source, init_from=str(model), settings=settings, **others)


def refine(
    source: str | Path,
    *,
    task: str | None = None,
    preset: str = "small",
    init_from: str = "scratch",
    minutes: float | None = None,
    synthetic: bool = True,
    settings: Mapping[str, Value] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """The main job: check, train, generate, assess, prove, fine-tune, compare and report, resumable at any step with `resume`.

    `minutes` are for everything that trains. `synthetic`: whether samples of a generator are made and tried, and learned from
    in fine-tuning if the trial shows that they help. It takes a while: `progress=ouvroir.SHOWN` prints how far it is.
    """
    from ouvroir.main_job import begin_refine, refine_run
    from ouvroir.training.distributed import join, resolve_device

    training = Training(source, task, preset, init_from, minutes, None, settings or {}, synthetic)
    at = Workplace(Path(runs), device, workers, language, progress)
    with join(resolve_device(device)) as world:
        return refine_run(workflow.once(world, lambda: begin_refine(training, at, is_alone=world.size == 1)), at)


def dry_run(verb: Literal["train", "refine"], training: Training, at: Workplace) -> Forecast:
    """What `verb` would do and how long it would take: all its checks, and two steps of each model. Leaves no run."""
    from ouvroir.forecast import forecast_refine, forecast_train

    return forecast_refine(training, at) if verb == "refine" else forecast_train(training, at)


def resume(
    run: str | Path,
    *,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    synthetic: bool = True,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Go on with a run that was stopped, to the same result. A run of `refine` goes on with the whole job.

    `last` is the newest run that was stopped or failed. A model that is part of a job goes on with the whole job; not `synthetic`,
    without trying synthetic data where that is not done yet.
    """
    from ouvroir.main_job import refine_run
    from ouvroir.training.distributed import join, resolve_device

    at = Workplace(Path(runs), device, workers, language, progress)
    with join(resolve_device(device)) as world:
        opened = workflow.once(world, lambda: single_job.to_resume(run, at))
        workflow.once(world, lambda: workflow.say_files_away(opened, progress))
        if opened.verb == "refine":
            return refine_run(opened, at, synthetic=synthetic)
        return single_job.to_the_end(opened, at, resume=True)


def refit(
    run: str | Path,
    *,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Train again with a run's settled recipe on all the data, validation and test included, before shipping.

    As many passes over the data as before, so more steps. No unseen data are left to judge the result on: its card
    repeats the figures of `run` and says so, and the threshold that `run` proposes is kept.
    """
    from ouvroir.training.distributed import join, resolve_device

    at = Workplace(Path(runs), device, workers, progress=progress)
    earlier = at.run_of(run, is_judged)
    with join(resolve_device(device)) as world:
        return single_job.to_the_end(
            workflow.once(world, lambda: single_job.begin_refit(earlier, at)), at, resume=False
        )


def evaluate(
    model: str | Path,
    source: str | Path,
    *,
    split: Split | Literal["all"] | None = None,
    settings: Mapping[str, Value] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Evaluation:
    """Judge a run or bundle on labelled data.

    `split` None: the test split when the model was trained on this very data or the data brings one, else all rows. Rows
    that the model learned from are left out, and counted; only with `split` "train" or "validation" they stay in, and
    `Evaluation.learned` names them. On the data of the training a row keeps the split that its content had then, and has
    the label that it has now; rows added or gone since are counted, and the added ones are judged when the data say that
    they are for this split, or with `split` "all".
    """
    from ouvroir import comparing

    at = Workplace(Path(runs), device, workers, progress=progress)
    return comparing.answer(comparing.ask(model, source, split, settings or {}, at), at)


def compare(
    a: str | Path,
    b: str | Path,
    source: str | Path,
    *,
    split: Split | Literal["all"] | None = None,
    settings: Mapping[str, Value] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> ModelComparison:
    """Judge models A and B on the same rows of labelled data, paired. Options as of `evaluate`.

    The rows are those that neither learned from, but for `split` "train" and "validation"; what is drawn in judging is the same
    for both. Both models are in memory at once.
    """
    from ouvroir import comparing

    at = Workplace(Path(runs), device, workers, progress=progress)
    comparing.require_one_task(a, b, at)
    asked = [comparing.ask(model, source, split, settings or {}, at) for model in (a, b)]
    return comparing.answer_both(asked[0], asked[1], at)


def load(model: str | Path, *, device: str | None = None) -> Predictor:
    """A Predictor from a run folder or a bundle: `load(run).predict(["a.png"])`."""
    from ouvroir.predictor import load as load_predictor

    return load_predictor(str(model), device=device)


def predict_files(
    model: str | Path,
    files: Iterable[str],
    *,
    output: Literal["table", "csv", "json", "jsonl"],
    to: TextIO,
    threshold: float | Literal["auto"] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> int:
    """Write answers for files, folders and `-` (standard input) to `to`, as they come. Returns how many failed.

    Of a folder's files of other kinds it is said how many they are, and those of the medium fail with what to do with them.
    Files are opened in worker processes, so that one which crashes or blocks its decoder costs its own answer only.
    When the list of files itself breaks off half way, a JSON object is closed with `error` and `message`.
    """
    from ouvroir import predictor as found

    at, files = Workplace(Path(runs), progress=progress), list(files)
    if len(files) == 1:
        at.require_order(str(model), files[0])
    chosen = found.load(at.place_of(str(model), answers), device=device)
    if isinstance(chosen.task, Synthesiser):
        raise UsageError(NO_ANSWERS)
    paths, inputs = itertools.tee(
        found.expand_inputs(
            files, chosen.recipe.task, data=chosen.recipe.data, stdin=sys.stdin.buffer, progress=progress
        )
    )
    failed = n_long = 0

    def named() -> Iterator[tuple[str, Prediction]]:
        nonlocal failed, n_long
        answers = chosen.each((one for _, one in inputs), threshold=threshold, workers=workers)
        for (name, _), answer in zip(paths, answers, strict=True):
            failed += answer.error is not None
            n_long += len(answer.times) > 1
            yield readable_name(name), answer

    lines = found.WRITERS[output](named(), chosen.labels)
    first = next(lines, "")  # what is wrong from the start is raised before anything is written
    to.write('{"predictions":\n' + first if output == "json" else first)
    try:
        for line in lines:
            to.write(line)
    except OuvroirError as error:
        if output != "json":
            raise
        told = json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False)
        to.write(f"\n],\n{told[1:]}\n")
        progress.say(f"ouvroir: {error}")
        return failed + 1
    to.write("}\n" if output == "json" else "")
    if n_long and output in ("table", "csv"):
        are = "1 input lasts" if n_long == 1 else f"{n_long:,} inputs last"
        progress.say(f"{are} longer than the model looks at a time; --format json gives the answer for each part.")
    return failed


def predict_stream(
    model: str | Path,
    address: str,
    *,
    output: Literal["table", "csv", "json", "jsonl"],
    to: TextIO,
    every_s: float | None = None,
    threshold: float | Literal["auto"] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    progress: Progress = QUIET,
) -> None:
    """Write answers for a stream to `to` as it goes on, one a line; see `stream`. Raises UsageError for output as csv and json."""
    from ouvroir import streaming

    if output not in ("table", "jsonl"):
        raise UsageError(f"A stream is written line by line, which {output} is not. Give --format jsonl or table.")
    at = Workplace(Path(runs), progress=progress)
    at.require_order(str(model), address)
    n_answers, n_dropped = 0, 0
    latencies: deque[float] = deque(maxlen=10_000)
    try:
        for one in stream(
            at.place_of(str(model), answers), address, every_s=every_s, threshold=threshold, device=device
        ):
            to.write(streaming.as_line(one) if output == "table" else streaming.as_json_line(address, one))
            to.flush()
            n_answers += one.prediction is not None
            n_dropped += one.n_dropped
            if one.prediction is not None:
                latencies.append(one.latency_s)
    finally:
        if n_answers:
            middle = sorted(latencies)[len(latencies) // 2]
            progress.say(f"{n_answers:,} answers, {1000 * middle:.0f} ms each (median); {n_dropped:,} frames dropped.")


def stream(
    model: str | Path,
    address: str,
    *,
    every_s: float | None = None,
    threshold: float | Literal["auto"] | None = None,
    device: str | None = None,
) -> Iterator[Rolling]:
    """Answers for the newest part of a stream, one after the other, until it ends or the iterator is closed.

    address: `webcam` (`webcam:1`), a path, or what starts with rtsp:// or http://; every_s: seconds between answers, 0.5 by
    default. A model that is slower than the stream misses parts of it, and never lags behind. Raises UsageError where the model
    knows no streams, DataError, MissingExtra.
    """
    from ouvroir import streaming

    every = streaming.EVERY_S if every_s is None else every_s
    return streaming.rolling(load(model, device=device), address, every_s=every, threshold=threshold)


def predict(
    model: str | Path,
    inputs: Iterable[Input],
    *,
    device: str | None = None,
    threshold: float | Literal["auto"] | None = None,
    workers: int | None = 0,
) -> list[Prediction]:
    """Answers for files or things in memory, same length and order as `inputs`. `workers` as in `Predictor.predict`."""
    return load(model, device=device).predict(inputs, threshold=threshold, workers=workers)


def report(run: str | Path, *, runs: str | Path = DEFAULT_ROOT, language: Language | None = None) -> Path:
    """Render the report of a run again, in the language of the run or, this once, in `language`. Returns its path."""
    from ouvroir.reporting import render_again

    return render_again(Workplace(Path(runs)).run_of(run, has_report), language=language)


def generate(
    run: str | Path,
    labels: str | Sequence[str] | None = None,
    *,
    count: int = SAMPLES,
    seed: int = 0,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Generated:
    """Have the generator of a run make `count` samples of each class, or of those named, as files in its synthetic/ folder.

    The files say of themselves that they are synthetic; the same seed gives the same files.
    """
    from ouvroir.generating import generate as make

    at = Workplace(Path(runs), device, progress=progress)
    of = at.run_of(run, makes)
    with of.whole.hold():
        return make(of, [labels] if isinstance(labels, str) else labels, count, seed, at)


def write(
    model: str | Path,
    prompts: Sequence[str],
    *,
    how: Sampling | None = None,
    label: str | None = None,
    seed: int = 0,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Iterator[tuple[int, str]]:
    """Which prompt, and what the language model of a run or bundle writes after it, as it comes; the same seed, the same text.

    `how`: temperature, top_k, top_p, min_p, repetition_penalty, stops, and how much at most; a string to stop at is not given
    itself. `label`: a class that the model knows. What a person should know of how prompts are read is said. Raises UsageError
    where the model writes no texts.
    """
    from ouvroir.predictor import load as load_predictor
    from ouvroir.task import Writer

    at = Workplace(Path(runs), progress=progress)
    chosen = load_predictor(at.place_of(str(model), makes), device=device)
    if isinstance(chosen.task, Writer):
        for sentence in chosen.task.remarks(chosen.processor, chosen.recipe, prompts):
            progress.say(sentence)
    return chosen.stream(prompts, how=how, label=label, seed=seed)


def prove(
    run: str | Path,
    *,
    arms: Sequence[Arm] = (),
    settings: Mapping[str, Value] | None = None,
    constants: bool = False,
    seeds: int | None = None,
    minutes: float | None = None,
    share: float | None = None,
    generator: str | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Proof:
    """Try something against the way a run was trained: paired trainings, equal steps, judged on rows that none learned from.

    By default synthetic data: a generator is trained unless the run has one, its samples are judged, and those that nothing
    speaks against are tried. Else what is asked for: `settings` of the recipe, `constants` each against its ordinary value,
    or `arms` of your own. `seeds`: trainings of each way, 10 when there is time. `minutes`: for all of it. `share`: of each
    batch that samples make up, else chosen on validation rows. A trial that was stopped goes on. Raises Untried when no
    verdict can come of it.
    """
    from ouvroir import proving
    from ouvroir.reporting import tell_of_trials

    at = Workplace(Path(runs), device, workers, language, progress)
    of = at.run_of(run, is_judged)
    wishes = proving.Wishes(seeds=seeds, minutes=minutes, share=share, generator=generator)
    proving.check(wishes)
    with of.hold():
        try:
            if arms or settings or constants:
                proof = proving.try_arms(of, arms, settings or {}, at, wishes, constants=constants)
            else:
                proof = proving.prove_synthetic(of, at, wishes)
        except Untried:
            tell_of_trials(of, at)
            raise
        except KeyboardInterrupt:
            progress.say("What is done is kept: the same call goes on with it.")
            raise
        tell_of_trials(of, at)
    return proof


def export(
    model: str | Path,
    to: Literal["onnx", "pth", "hf", "gguf"],
    folder: str | Path | None = None,
    *,
    runs: str | Path = DEFAULT_ROOT,
    progress: Progress = QUIET,
) -> ExportResult:
    """Write a model in another format, after replaying held-out items through it. Raises ExportError on any difference."""
    from ouvroir.exporting import export as export_model

    return export_model(Workplace(Path(runs), progress=progress).place_of(str(model)), to, folder, progress=progress)


def sample(task: str, folder: str | Path) -> int:
    """Write a small real data set for `task` into the new folder `folder`. Returns the number of files."""
    place = Path(folder)
    asked = find_task(task, is_asked_for=True)
    with disk_errors(place):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"`{folder}` is there already and not empty. Name a new folder.")
        make_folder(place)
        return asked.sample(place)
