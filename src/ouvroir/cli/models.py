"""Commands that use a trained model: evaluate, compare, predict, export, report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ouvroir import api, summaries, terminal
from ouvroir.arms import arm_at
from ouvroir.cli.command import command, print_json
from ouvroir.cli.parameters import (
    DataArgument,
    Device,
    Json,
    LanguageOption,
    ModelArgument,
    Quiet,
    RunArgument,
    Runs,
    Settings,
    Split,
    Workers,
    WorkOptions,
    read_settings,
    setting_words,
)
from ouvroir.errors import UsageError
from ouvroir.run import DEFAULT_ROOT
from ouvroir.sampling import Sampling


@command
def evaluate(
    model: ModelArgument, data: DataArgument, split: Split = None, pairs: Settings = None, *, work: WorkOptions
) -> None:
    """Judge a model on labelled files. Rows it learned from are left out, and counted, unless --split asks for them.

    Example: ouvroir evaluate last new_flowers/
    """
    settings = read_settings(pairs)
    with work.progress() as progress:
        found = api.evaluate(model, data, split=split, settings=settings, **work.place, progress=progress)
    summary = summaries.evaluation_summary(model, found)
    if work.as_json:
        print_json(summary)
    else:
        terminal.show_evaluation(summary)
        place = [] if work.runs == DEFAULT_ROOT else ["--runs", str(work.runs)]
        read = [data, *setting_words({**found.settings, **settings})]
        judged = read if split is None else [*read, "--split", split]
        terminal.show_after_evaluation(found.task, model=[model, *place], data=read, judged=judged)


@command
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A run or bundle.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    data: DataArgument,
    split: Split = None,
    pairs: Settings = None,
    *,
    work: WorkOptions,
) -> None:
    """Judge two models on the same files, paired: which items B fixes and breaks, and whether it is better.

    Example: ouvroir compare runs/first runs/second flowers/
    """
    settings = read_settings(pairs)
    with work.progress() as progress:
        found = api.compare(a, b, data, split=split, settings=settings, **work.place, progress=progress)
    summary = summaries.comparison_summary(a, b, found)
    if work.as_json:
        print_json(summary)
    else:
        terminal.show_comparison(summary)


@command
def predict(
    model: ModelArgument,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES…", help="Files, folders, or - for paths on standard input; texts, for a model of texts."
        ),
    ],
    output: Annotated[
        Literal["table", "csv", "json", "jsonl"], typer.Option("--format", help="How to write the answers.")
    ] = "table",
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold", help="Answer 'none of these' below this confidence, 0 to 1; auto: as the report proposes."
        ),
    ] = None,
    is_stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="FILES is a stream: webcam, an address (rtsp://, http://), or a file in real time."
        ),
    ] = False,
    every: Annotated[
        float | None, typer.Option("--every", min=0, help="Seconds between the answers for a stream; 0.5 by default.")
    ] = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Answer for new files, or for a stream as it goes on.

    Example: ouvroir predict last photos/ --format csv > answers.csv
    """
    with terminal.progress(quiet=quiet) as progress:
        if is_stream:
            if len(files) != 1:
                raise UsageError("With --stream, give one file, one address, or webcam.")
            api.predict_stream(
                model,
                files[0],
                output="jsonl" if as_json else output,
                every_s=every,
                threshold=_threshold(threshold),
                runs=runs,
                device=device,
                to=sys.stdout,
                progress=progress,
            )
            return 0
        if every is not None:
            raise UsageError("--every is for a stream. Give --stream too.")
        n_failed = api.predict_files(
            model,
            files,
            output="json" if as_json else output,
            threshold=_threshold(threshold),
            runs=runs,
            device=device,
            workers=workers,
            to=sys.stdout,
            progress=progress,
        )
    return 1 if n_failed else 0


def _threshold(text: str | None) -> float | Literal["auto"] | None:
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"--threshold is a number between 0 and 1, or auto, and not `{text}`.")
    return value


@command
def generate(
    run: RunArgument,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="A class to make samples of; repeatable, by default all.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help=f"Samples of each class; {api.SAMPLES} by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same files, and texts.")] = 0,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            help="Go on with this text, or - for standard input, and write what comes to the terminal; repeatable.",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", min=0, help="With --prompt: below 1 more of what is likely, 0 always the likeliest."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=0, help="With --prompt: of the so many likeliest; 0 for all.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            help=f"With --prompt: of the likeliest that together have this probability; {Sampling.top_p} by default.",
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option("--min-p", help="With --prompt: of what has this share of the probability of the likeliest."),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option("--repetition-penalty", help="With --prompt: above 1, what was written comes less often again."),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="With --prompt: end before this string, which is not printed itself; repeatable."),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--most", min=1, help=f"With --prompt: pieces written at most; {Sampling.most} by default."),
    ] = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have a generator make new samples of what it learned, as files that say that they are synthetic; or go on with a text.

    A language model goes on with a text: ouvroir generate last --prompt "Once upon a time" --most 200

    Example: ouvroir generate last --label rose --count 500 --seed 7
    """
    asked: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "stops": tuple(stop) if stop else None,
        "most": most,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if prompt:
        if count is not None:
            raise UsageError(
                "--count is for samples, and --prompt goes on with texts. Give --most, the pieces to write."
            )
        how, prompt = Sampling(**given), _read_prompts(prompt)
        with terminal.progress(quiet=quiet) as progress:
            said = api.write(
                run, prompt, how=how, label=_only(label), seed=seed, runs=runs, device=device, progress=progress
            )
        _show_written(prompt, said, as_json=as_json)
        return
    if given:
        name = "stop" if "stops" in given else next(iter(given)).replace("_", "-")
        raise UsageError(f"--{name} says how to go on with a text. Give one with --prompt, or leave --{name} out.")
    with terminal.progress(quiet=quiet) as progress:
        found = api.generate(
            run, label, count=count or api.SAMPLES, seed=seed, runs=runs, device=device, progress=progress
        )
    summary = summaries.generated_summary(found)
    if as_json:
        print_json(summary)
    else:
        terminal.show_generated(summary)


def _read_prompts(prompts: list[str]) -> list[str]:
    """The prompts, with what standard input holds in place of `-`, without its last end of a line. Raises UsageError."""
    from ouvroir.predictor import STANDARD_INPUT

    n = prompts.count(STANDARD_INPUT)
    if not n:
        return prompts
    if n > 1:
        raise UsageError("--prompt - stands for standard input, which can be read only once. Give it once.")
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"Standard input is no text in UTF-8: byte {error.start + 1} fits no letter. Give --prompt - such a text."
        ) from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UsageError("Standard input is empty. Give --prompt - a text to go on with.")
    return [text if one == STANDARD_INPUT else one for one in prompts]


def _only(labels: list[str] | None) -> str | None:
    if labels and len(labels) > 1:
        raise UsageError("With --prompt, give one --label.")
    return labels[0] if labels else None


def _show_written(prompts: list[str], said: Iterator[tuple[int, str]], *, as_json: bool) -> None:
    """One text as it comes; several when all are written."""
    if len(prompts) == 1 and not as_json:
        print(prompts[0], end="", flush=True)
        for _, text in said:
            print(text, end="", flush=True)
        print()
        return
    found = [""] * len(prompts)
    for place, text in said:
        found[place] += text
    if as_json:
        texts = [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, found, strict=True)]
        print_json({"texts": texts})
    else:
        print("\n\n".join(prompt + text for prompt, text in zip(prompts, found, strict=True)))


@command
def prove(
    run: RunArgument,
    constants: Annotated[
        bool, typer.Option("--constants", help="Try φ, π, 1/137 and −1/12, each against its ordinary value.")
    ] = False,
    augmentation: Annotated[
        list[str] | None,
        typer.Option(
            "--augmentation",
            metavar="NAME=VALUE",
            help="Try an option of the task, e.g. mixup=0.2; several are tried together, as one way.",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Try a setting, e.g. optim.weight_decay=0.1; several are tried together, as one way.",
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm", metavar="MODULE:NAME", help="Try an arm of your own; several are tried beside each other."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=2, help="Trainings of each way; 10 by default, fewer than 6 admit nothing."),
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.05, help="Time for all of it.")] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Of each batch that samples make up; chosen on validation data by default."),
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", metavar="TASK", help="What makes the samples; as `--task` of train.")
    ] = None,
    language: LanguageOption = None,
    *,
    work: WorkOptions,
) -> None:
    """Try whether synthetic data help, on data that nothing learned from; or settings, constants, arms of your own.

    Example: ouvroir prove last --minutes 10
    """
    settings = {f"options.{name}": value for name, value in read_settings(augmentation).items()} | read_settings(pairs)
    if arm:
        sys.path.append(str(Path.cwd()))  # where a person's own module most likely is
    arms = [arm_at(place) for place in arm or []]
    with work.progress() as progress:
        found = api.prove(
            run,
            arms=arms,
            settings=settings,
            constants=constants,
            seeds=seeds,
            minutes=minutes,
            share=share,
            generator=generator,
            language=language,
            **work.place,
            progress=progress,
        )
    summary = summaries.proof_summary(found)
    if work.as_json:
        print_json(summary)
    else:
        terminal.show_proof(summary)


@command
def export(
    model: ModelArgument,
    to: Annotated[
        Literal["onnx", "pth", "hf", "gguf"],
        typer.Option(
            "--to",
            help="The format; hf for what transformers has a class for, gguf for models that write, to run in llama.cpp.",
        ),
    ],
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to; `export/` in the run by default.")] = None,
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the model in another format; held-out items are replayed through it before it is called done.

    Example: ouvroir export last --to onnx
    """
    with terminal.progress(quiet=quiet) as progress:
        result = api.export(model, to, folder, runs=runs, progress=progress)
    if as_json:
        print_json(result.as_dict())
    else:
        terminal.show_export(result)


@command
def report(
    run: RunArgument,
    language: LanguageOption = None,
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
) -> None:
    """Render the report of a run again, in the language of its training or, this once, in another.

    Example: ouvroir report last --language fr
    """
    path = api.report(run, language=language, runs=runs)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)
