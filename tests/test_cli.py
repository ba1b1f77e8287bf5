"""The command line: every verb on real pictures, its JSON, its exit status and what it says."""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from ouvroir import terminal
from ouvroir.cli import app
from ouvroir.recipe import Recipe
from ouvroir.run import Run
from pictures import QUICK, call, call_json, environment, read_object, run, start, unchanged, write_digits

STEPS = ("--set", "loop.steps=30")
METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"}
CHECK_KEYS = {"source", "task", "found", "admitted", "refused", "refused_by_code", "refusals", "splits", "labels"}
CHECK_KEYS |= {
    "contents",
    "blocks",
    "judged",
    "unjudged",
    "counts",
    "is_multi_label",
    "synthetic",
    "notes",
    "fingerprint",
}
RUN_KEYS = {"run", "name", "task", "state", "sentence", "metrics", "validation", "verdict", "steps", "timings"}
RUN_KEYS |= {"synthetic"}
RUN_KEYS |= {"report", "model"}
FORECAST_KEYS = {"found", "admitted", "refused", "splits", "pack_bytes", "pack_seconds"}
FORECAST_KEYS |= {"synthetic_seconds", "synthetic_untried", "models", "total_seconds"}
MODEL_KEYS = {"name", "parameters", "steps", "train_seconds", "judge_seconds", "recipe"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with digits, more digits, and a trained run; caches beside them."""
    place = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        patch.chdir(place)
        write_digits(place / "digits", per_class=20)
        write_digits(place / "more", per_class=8, skip=30)
        run("train", "digits", *QUICK, *STEPS)
        yield place


def commands():
    """(words of the command, its help) of every command and group."""
    found = []

    def walk(command, words):
        found.append(words)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*words, name))

    walk(get_command(app), ())
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_has_an_example(words):
    text = call(*words, "--help").stdout
    assert "Usage:" in text
    assert re.search(r"Example: ouvroir \w+", text), text


def test_the_help_of_the_main_job_and_of_samples_names_texts():
    assert "corpus" in call("refine", "--help").stdout
    assert "ouvroir generate last --prompt" in call("generate", "--help").stdout


def test_examples_in_the_help_are_valid_calls():
    """Every option that an example names is one that the command has."""
    for words in commands():
        text = call(*words, "--help").stdout
        example = re.search(r"Example: (ouvroir [^\n]*(?:\n +[^\n]+)*)", text).group(1)
        for option in re.findall(r" (--[a-z-]+)", example):
            assert re.search(rf"{option}\b", text.replace(example, "")), (words, option)


def test_version_and_empty_call():
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)
    assert "Commands:" in run(status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["tran", "x"], "train"),
        (["run"], "runs"),
        (["train", "x", "--minuts", "3"], "--minutes"),
        (["train", "x", "--preset", "huge"], "'--preset': 'huge' is not one of 'tiny', 'small', 'base'"),
        (["refine", "My", "pictures"], "Put a name with spaces between quotes"),
        (["report", "last", "--language", "de"], "'en', 'fr'"),
        (["export", "last", "--to", "onyx"], "'onnx'"),
        (["evaluate", "last", "x", "--split", "tests"], "'test'"),
        (["predict", "last", "x", "--format", "xml"], "'csv'"),
    ],
)
def test_wrong_spelling_suggests_the_right_one(arguments, hint):
    done = run(*arguments, "--json", status=2)
    assert hint in done.stderr
    told = read_object(done.stdout)
    assert told["error"] == "UsageError"
    assert hint in told["message"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "digits", "--set", "loop.step=4"], "Did you mean `loop.steps`?"),
        (["train", "digits", "--set", "lop.steps=4"], "Did you mean `loop.steps`?"),
        (["train", "digits", "--set", "options.droput=0.1"], "Did you mean `options.dropout`?"),
        (["train", "digits", "--set", "option.dropout=0.1"], "Did you mean the group `options`?"),
        (["train", "digits", "--set", "opton.dropot=0.1", "--task", "image-classification"], "the group `options`?"),
        (["train", "digits", "--set", "OPTIM.LR=0.1"], "Did you mean `optim.lr`?"),
        (["train", "digits", "--set", "optim.foo=1"], "There are: optim.name, optim.lr, "),
        (["train", "digits", "--set", "OPTIONS.DROPOUT=0.1"], "Did you mean the group `options`?"),
        (["train", "digits", "--set", "options.DROPOUT=0.1"], "Did you mean `options.dropout`?"),
        (["train", "digits", "--set", "loop.=1"], "There are: loop.steps, loop.epochs, "),
        (["train", "digits", "--set", "loop=1"], "There are: loop.steps, loop.epochs, "),
        (["train", "digits", "--set", "options.=1"], "There are: options."),
        (["train", "digits", "--set", "lop.=1"], "There are: data, model, optim, loop, constants, options."),
        (["train", "digits", "--set", "loop.lr=0.1"], "Did you mean `optim.lr`?"),
        (["train", "digits", "--set", "opt.lr=0.1"], "Did you mean `optim.lr`?"),
        (["train", "digits", "--set", "options.lr=0.1"], "Did you mean `optim.lr`?"),
        (["train", "digits", "--set", "loop.steps=-1"], "`loop.steps` cannot be -1"),
        (["train", "digits", "--set", "loop.steps=many"], "`loop.steps` cannot be"),
        (["train", "digits", "--set", "loop.steps=yes"], "`loop.steps` cannot be `yes`: input should be a number"),
        (["train", "digits", "--set", "steps"], "equals sign"),
        (["train", "digits", "--set", "lr=0.1"], "Did you mean `optim.lr`?"),
        (["train", "digits", "--set", "options.flip=yes"], "`options.flip` cannot be `yes`"),
        (["train", "digits", "--set", "loop.steps=5", "--minutes", "1"], "only `loop.steps` would count"),
        (["predict", "digits", "last"], "`last` is a run or a model, and `digits` is none"),
        (["evaluate", "digits", "last"], "the model comes first"),
        (["finetune", "digits", "last"], "the model comes first"),
        (["train", "digits", "--set", "constants.phi=of"], "or 'ordinary'"),
        (["train", "digits", "--scope", "haed"], "Its parts are, input first: stem"),
        (["runs", "rm", "last", "--yes"], "in full"),
        (["train", "digits", "--task", "image-clasification"], "Did you mean `image-classification`?"),
        (["train", "digits", "--recipe", "nothere.json"], "nothere.json"),
        (["train", "digits", "--resume", "last"], "Leave out DATA"),
        (["train", "--resume", "last", "--preset", "tiny"], "Leave out DATA"),
        (["refine", "--resume", "last", "--exact"], "Leave out DATA"),
        (["refine", "digits", "--set", "loop.patience=3", "--dry-run"], "refine sets loop.patience itself"),
        (["train"], "ouvroir train DATA"),
        (["refine"], "ouvroir refine DATA"),
        (["check", "digits", "--set", "loop.steps=4"], "only settings of data"),
        (["check", "digits", "--set", "data.tset=0.1"], "Did you mean `data.test`?"),
        (["sample", "image-clasification", "new"], "Did you mean `image-classification`?"),
        (["sample", "image-classification", "digits"], "not empty"),
        (["cache", "rm", "pack"], "packs"),
        (["predict", "last", "-"], "Standard input is empty"),
    ],
)
def test_wrong_call_is_told_and_starts_nothing(room, arguments, hint):
    runs = sorted((room / "runs").iterdir())
    done = call(*arguments, "--json", status=2)
    told = read_object(done.stdout)
    assert set(told) == {"error", "message"}
    assert hint in told["message"]
    assert told["message"] in done.stderr
    assert sorted((room / "runs").iterdir()) == runs


def test_a_wrong_scope_is_found_before_the_files_are_opened(room):
    told = call("finetune", "last", "digits", "--scope", "haed", status=2).stderr
    assert "pool, head. Use all, head, last:1 to last:" in told
    assert "found in" not in told


def test_constants_are_switched_off_and_on_by_these_words():
    plain = Recipe.from_dict({"task": "image-classification"})
    for name in ("phi", "pi", "alpha", "zeta"):
        off = plain.with_overrides({f"constants.{name}": "off"})
        assert getattr(off.constants, name) == "ordinary"
        assert off.with_overrides({f"constants.{name}": "on"}) == plain


def test_wrong_setting_is_found_before_the_files_are_opened(room):
    assert "found in" not in call("train", "digits", "--set", "loop.step=4", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["evaluate", "nothere", "digits"], "There is no run or model at `nothere`"),
        (["predict", "nothere", "digits"], "There is no run or model at `nothere`"),
        (["train", "--resume", "nothere"], "`nothere` is not a run"),
        (["runs", "rm", "nothere"], "`nothere` is not a run"),
        (["report", "nothere"], "`nothere` is not a run"),
        (["finetune", "nothere", "digits"], "There is no folder `nothere`. Give"),
        (["train", "digits", "--from", "resnet-50/"], "There is no folder `resnet-50/`. Give"),
        (
            ["train", "digits", "--from", "some/network"],
            "There is no folder `some/network`, and nothing could be read under",
        ),
        (["train", "digits", "--from", "/nothere/at/all"], "/nothere/at/all"),
        (["train", "digits", "--from", "digits"], "digits"),
        (["check", "nothere"], "There is nothing at"),
        (["refit", "nothere"], "`nothere` is not a run"),
        (["compare", "nothere", "last", "digits"], "There is no run or model at `nothere`"),
        (["export", "nothere", "--to", "pth"], "nothere"),
        (["train", "digits", "--device", "cuda:7"], "CUDA"),
    ],
)
def test_what_is_not_there_is_refused_with_a_sentence(room, arguments, hint):
    runs = sorted((room / "runs").iterdir())
    done = call(*arguments, "--json", status=1)
    told = read_object(done.stdout)
    assert hint in told["message"]
    assert told["message"] in done.stderr
    assert sorted((room / "runs").iterdir()) == runs


# ---------------------------------------------------------------- each verb


def test_check(room):
    with unchanged(room / "digits"):
        told = call_json("check", "digits")
    assert set(told) == CHECK_KEYS
    assert told["found"] == told["admitted"] + told["refused"] == 80
    assert sum(told["splits"].values()) == 80
    assert {split: sum(counts.values()) for split, counts in told["counts"].items()} == told["splits"]
    assert told["labels"] == ["0", "1", "2", "3"]
    assert all(set(note) == {"code", "text", "proposal"} for note in told["notes"])
    done = call("check", "digits")
    assert "80 found = 80 admitted + 0 refused" in done.stdout
    assert "80 files found" in done.stderr
    done = call("check", "digits", "--group-pattern", "([0-9])[.]")
    assert re.search(
        r"^  ouvroir refine digits --set 'data.group_pattern=\(\[0-9\]\)\[\.\]'  +teaches", done.stdout, re.MULTILINE
    )
    done = call("check", "digits", "--group-pattern", "(png)")
    assert "4 of 4 classes come from one group each" in done.stderr
    assert "ouvroir refine" not in done.stdout


def test_check_says_why_nothing_can_be_learned(room):
    write_digits(room / "one", classes="1")
    done = call("check", "one")
    assert "one class, `1`; a classifier needs two" in done.stderr
    assert "ouvroir refine" not in done.stdout


def test_a_check_proposes_commands_that_can_be_pasted(room):
    names = sorted(path.relative_to(room / "digits") for path in (room / "digits").rglob("*.png"))
    sides = {"0": "even;round", "1": "odd", "2": "even", "3": "odd;round"}
    table = room / "mes étiquettes.csv"
    lines = [f"digits/{name},{sides[name.parent.name]},{number % 9}" for number, name in enumerate(names)]
    table.write_text("\n".join(["Photo,CATÉGORIE,patient", *lines]), encoding="utf-8")
    (room / "digits" / "0" / ".DS_Store").write_bytes(b"x")
    (room / "digits" / "1" / "Thumbs.db").write_bytes(b"x")
    try:
        told = call("check", table.name, "--set", "data.test=0.3").stdout
        calls = re.findall(r"^  (ouvroir .*)$", told, re.MULTILINE)
        assert [shlex.split(one)[1:3] for one in calls] == [["check", table.name]] * 2 + [["refine", table.name]] * 2
        assert told.count("data.label_separator") == told.count("data.group_column") == 1
        again = call_json(*shlex.split(calls[0])[1:])
        assert again["labels"] == ["even", "odd", "round"]
        assert again["splits"]["test"] > 80 * 0.25  # what was asked for before is kept
        printed = call("check", "digits").stdout
        assert "82 found = 80 admitted + 2 refused" in printed
        assert [line for line in printed.splitlines() if "hidden" in line] == [
            "  hidden: 2 hidden or of the system: `0/.DS_Store`, `1/Thumbs.db`"
        ]
    finally:
        for path in (table, room / "digits" / "0" / ".DS_Store", room / "digits" / "1" / "Thumbs.db"):
            path.unlink()


def test_train_told_on_both_streams(room):
    done = run("train", "digits", *QUICK, *STEPS, "--json")
    told = read_object(done.stdout)
    assert set(told) == RUN_KEYS
    assert told["state"] == "finished"
    assert told["steps"] == 30
    assert set(told["metrics"]) == set(told["validation"]) == METRICS
    for metric in told["metrics"].values():
        assert set(metric) == {"value", "low", "high"}
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert Path(told["report"]).is_file()
    assert (Path(told["model"]) / "model.safetensors").is_file()
    said = done.stderr
    assert "80 found = 80 admitted + 0 refused" in said
    assert (
        said.index("80 found")
        < said.index("To change that: --set options.flip=horizontal")
        < said.index("Training for 30 steps")
    )
    verdict = told["verdict"]
    assert set(verdict) == {"sentence", "lines", "weakest", "kept", "against_baseline", "tuning"}
    for one in verdict["weakest"]:
        assert one["n_right"] < one["n"]
        assert one["low"] <= one["value"] <= one["high"]
    call("runs", "rm", "--yes", told["name"])
    assert not Path(told["run"]).exists()


def test_train_for_a_person_whose_terminal_speaks_french(room, monkeypatch):
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    done = run("train", "digits", *QUICK, "--set", "loop.steps=2")
    monkeypatch.delenv("LC_ALL")
    name = re.search(r"^exécution +(\S+)$", done.stdout, re.MULTILINE).group(1)
    assert "éléments jamais vus" in done.stdout
    assert "crochets" in done.stdout  # what stands in brackets is an interval
    assert f"ouvroir predict runs/{Path(name).name} FICHIERS" in done.stdout
    assert "Classes les plus faibles" in done.stdout  # two steps cannot have taught everything
    assert re.search(r"^  \d +\d+ sur \d+ trouvés", done.stdout, re.MULTILINE)
    assert "{" not in done.stdout
    assert not re.search(r"report +/|Finished|Next", done.stdout)
    assert '<html lang="fr"' in (Path(name) / "report.html").read_text(encoding="utf-8")
    again = call("train", "--resume", name)  # the run remembers its language
    assert "éléments jamais vus" in again.stdout
    assert '<html lang="fr"' in (Path(name) / "report.html").read_text(encoding="utf-8")
    call("runs", "rm", "--yes", Path(name).name)


def test_quiet_says_nothing(room):
    done = run("train", "digits", *QUICK, "--set", "loop.steps=2", "--quiet", "--json")
    assert done.stderr == ""
    call("runs", "rm", "--yes", read_object(done.stdout)["name"])


def test_dry_run_leaves_no_run_and_no_pack(room, tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path))
    before = sorted((room / "runs").iterdir())
    for verb, names in (("train", ["trained"]), ("refine", ["base", "tuned"])):
        told = call_json(verb, "digits", *QUICK, *STEPS, "--dry-run")
        assert set(told) == FORECAST_KEYS
        assert told["found"] == 80
        assert told["splits"].keys() == {"train", "validation", "test"}
        assert [model["name"] for model in told["models"]] == names
        assert all(set(model) == MODEL_KEYS for model in told["models"])
        assert told["models"][0]["parameters"] > 1000
    told = call_json("finetune", "last", "digits", *STEPS, "--dry-run")
    assert told["models"][0]["recipe"]["model"]["init_from"].startswith(str(room / "runs"))
    assert sorted((room / "runs").iterdir()) == before
    assert not list(tmp_path.rglob("shard_*"))


def test_dry_run_says_how_long_it_takes(room):
    """Steps are those that the job would take, the whole is the sum of its parts, and more steps take more time."""
    few, many = (call_json("refine", "digits", *QUICK, "--set", f"loop.steps={n}", "--dry-run") for n in (10, 10_000))
    assert [model["steps"] for model in few["models"]] == [10, 3]
    assert [model["steps"] for model in many["models"]] == [10_000, 3_000]
    assert many["total_seconds"] > 20 * few["total_seconds"]
    for told in (few, many):
        parts = sum(model["train_seconds"] + model["judge_seconds"] for model in told["models"])
        parts += told["synthetic_seconds"]
        assert told["total_seconds"] == pytest.approx(told["pack_seconds"] + parts, abs=0.3)
    in_time = call_json("refine", "digits", *QUICK, "--minutes", "2", "--dry-run")
    assert 60 < sum(model["train_seconds"] for model in in_time["models"]) < 150
    shown = call("refine", "digits", *QUICK, "--set", "loop.steps=10000", "--dry-run").stdout
    assert "10,000 steps of 16 rows, about " in shown
    assert re.search(r"in all +about .+ on top", shown)


def test_dry_run_from_an_earlier_model_tries_both(room):
    told = call_json("refine", "digits", *QUICK, *STEPS, "--from", "last", "--dry-run")
    starts = {model["name"]: model["recipe"]["model"]["init_from"] for model in told["models"]}
    assert starts["base"] == "scratch"
    assert starts["tuned"].startswith(str(room / "runs"))


def test_commands_that_train_share_their_options():
    words = {
        verb: set(re.findall(r"--[a-z-]+", call(verb, "--help").stdout)) for verb in ("train", "finetune", "refine")
    }
    shared = {
        "--task",
        "--label-column",
        "--set",
        "--minutes",
        "--exact",
        "--dry-run",
        "--language",
        "--runs",
        "--device",
    }
    shared |= {"--workers", "--json", "--quiet"}
    assert all(shared <= found for found in words.values())
    assert words["train"] - words["refine"] == {"--scope", "--recipe"}


def test_evaluate_leaves_out_what_was_learned_and_counts_it(room):
    told = call_json("evaluate", "last", "digits")
    assert set(told) == {
        "model",
        "n",
        "n_units",
        "in_blocks",
        "n_learned",
        "metrics",
        "classes",
        "left_out",
        "unknown_labels",
    }
    assert told["n_learned"] == 0
    assert set(told["metrics"]) == METRICS
    splits = call_json("check", "digits")["splits"]
    assert told["n"] == splits["test"]
    everything = call_json("evaluate", "last", "digits", "--split", "all")
    assert everything["n"] + sum(everything["left_out"].values()) == 80
    assert everything["n"] == told["n"]
    assert everything["left_out"] == {"learned from": 80 - told["n"]}
    other = call_json("evaluate", "last", "more")
    assert (other["n"], other["left_out"]) == (32, {})
    assert sum(one["n"] for one in other["classes"]) == 32
    right = sum(one["n_right"] for one in other["classes"])
    assert right / 32 == pytest.approx(other["metrics"]["accuracy"]["value"])
    ends = [one["high"] for one in other["classes"]]
    assert ends == sorted(ends)
    shown = call("evaluate", "last", "digits", "--split", "all").stdout
    assert f"left out: {80 - told['n']} (learned from in training, or used to choose the model in validation)" in shown
    assert "ouvroir compare last OTHER digits" in shown
    shown = call("evaluate", "last", "digits", "--runs", room / "runs").stdout
    assert f"ouvroir compare last --runs {room / 'runs'} OTHER digits" in shown


def test_what_to_type_after_evaluate_splits_labels_as_the_model_does(room):
    rows = "".join(f"{path},{path.parent.name}|odd\n" for path in sorted((room / "more").rglob("*.png")))
    (room / "several.csv").write_text("file,label\n" + rows)
    told = call_json("train", "several.csv", *QUICK, "--set", "loop.steps=2", "--set", "data.label_separator=|")
    shown = call("evaluate", told["name"], "several.csv").stdout
    assert f"ouvroir finetune {told['name']} several.csv --set 'data.label_separator=|' " in shown
    assert "named wrongly" in shown
    call("runs", "rm", "--yes", told["name"])


def test_what_to_type_after_evaluate_reads_the_data_alike_and_is_in_english(room, monkeypatch):
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    rows = "".join(f"{path},{path.parent.name},odd\n" for path in sorted((room / "more").rglob("*.png")))
    (room / "table.csv").write_text("file,label,kind\n" + rows)
    shown = call("evaluate", "last", "table.csv", "--set", "data.label_column=label", "--split", "all").stdout
    assert "Next, for instance:" in shown
    assert "ouvroir compare last OTHER table.csv --set data.label_column=label --split all " in shown
    assert "ouvroir finetune last table.csv --set data.label_column=label " in shown
    assert "ouvroir predict last FILES " in shown
    assert "Next, for instance:" in call("check", "digits").stdout


@pytest.mark.parametrize(
    ("task", "call_of_it"),
    [
        ("image-classification", "predict last FILES"),
        ("image-generation", "generate last --count 100"),
        ("text-generation", "generate last --prompt TEXT"),
    ],
)
def test_what_to_type_after_evaluate_is_what_the_model_can_do(capsys, task, call_of_it):
    terminal.show_after_evaluation(task, model=["last"], data=["files"], judged=["files"])
    shown = capsys.readouterr().out
    assert f"ouvroir {call_of_it} " in shown
    assert "ouvroir finetune last files " in shown
    assert ("predict" in shown) == ("predict" in call_of_it)


@pytest.mark.parametrize(("said", "is_explained"), [("1.5 [1.2, 1.8]", True), ("1.5 [no interval]", False)])
def test_brackets_are_explained_where_they_hold_an_interval(capsys, said, is_explained):
    summary = {
        "verdict": {"lines": {"en": [f"The model has {said}.", "It is kept."]}},
        "synthetic": None,
        "report": "r",
        "model": None,
        "run": "x",
    }
    terminal.show_run(summary, language="en")
    assert ("Square brackets hold" in capsys.readouterr().out) == is_explained


def test_figures_on_rows_that_the_model_knows_are_said_to_flatter(room):
    n = call_json("check", "digits")["splits"]
    for split in ("train", "validation"):
        told = call_json("evaluate", "last", "digits", "--split", split)
        assert told["n"] == told["n_learned"] == n[split]
    said = f"learned from {n['validation']} of these items or was chosen by them: the figures flatter."
    shown = call("evaluate", "last", "digits", "--split", "validation").stdout
    assert f"The model {said}" in shown
    shown = call("compare", "last", "last", "digits", "--split", "validation").stdout
    assert f"A {said}\nB {said}\n" in shown
    assert "flatter" not in call("evaluate", "last", "digits").stdout
    shutil.copytree(room / "more", room / "own" / "validation")
    shutil.copytree(room / "digits", room / "own" / "test")
    told = call_json("evaluate", "last", "own", "--split", "validation")  # of other data: the model does not know it
    assert (told["n"], told["n_learned"]) == (32, 0)


def test_evaluate_on_data_without_the_split_that_is_asked_for(room):
    told = call("evaluate", "last", "more", "--split", "test", status=1).stderr
    assert "has no test split, so none of its 32 rows can be judged with `--split test`. Leave it out" in told


def test_a_wrong_option_is_told_before_the_files_are_looked_at(room, monkeypatch):
    def look(*args, **kwargs):
        raise AssertionError("the files were looked at")

    monkeypatch.setattr("ouvroir.planning.admit", look)
    told = call("train", "digits", "--set", "options.droput=0.1", status=2).stderr
    assert "Did you mean `options.dropout`?" in told
    told = call("train", "digits", "--task", "image-classification", "--set", "options.n_pieces=9", status=2).stderr
    assert "There is no setting `options.n_pieces`." in told
    told = call("refine", "digits", "--set", "options.nothing_like_it=9", status=2).stderr
    assert "There is no setting `options.nothing_like_it`." in told


def test_a_bundle_knows_elsewhere_what_it_learned_from(room, tmp_path, monkeypatch):
    shutil.copytree(Path(call_json("report", "last")["report"]).parent / "final_model", tmp_path / "model")
    shutil.copytree("digits", tmp_path / "elsewhere")
    test = call_json("check", "digits")["splits"]["test"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    done = call("evaluate", tmp_path / "model", tmp_path / "elsewhere", "--json")
    assert read_object(done.stdout)["left_out"] == {"learned from": 80 - test}
    assert "flatter" not in done.stderr
    (tmp_path / "model" / "learned.safetensors").unlink()
    done = call("evaluate", tmp_path / "model", tmp_path / "elsewhere", "--json")
    assert read_object(done.stdout)["left_out"] == {}
    assert "flatter" in done.stderr


def test_evaluate_counts_labels_that_the_model_does_not_know(room):
    write_digits(room / "five", per_class=5, classes="12345", skip=40)
    told = call_json("evaluate", "last", "five")
    assert (told["n"], told["left_out"]) == (15, {"unknown label": 10})
    assert told["unknown_labels"] == {"4": 5, "5": 5}
    assert "does not know the labels `4` (5), `5` (5)" in call("evaluate", "last", "five").stdout
    write_digits(room / "strange", per_class=5, classes="89")
    error = call("evaluate", "last", "strange", status=1).stderr
    assert "10 unknown label" in error
    assert "does not know `8` (5), `9` (5); it knows `0`, `1`, `2`, `3`" in error


def test_files_without_labels_are_not_judged_and_it_is_said_how_to_label_them(room):
    (room / "new").mkdir()
    for file in (room / "more" / "0").iterdir():
        shutil.copy(file, room / "new")
    assert "without a folder for each class" in call("evaluate", "last", "new", status=1).stderr


def test_evaluate_speaks_to_a_person(room):
    told = call_json("evaluate", "last", "more")
    shown = call("evaluate", "last", "more").stdout.replace("\u202f", " ")
    assert not re.search(r"macro_f1|nll|\bece\b", shown)
    accuracy = told["metrics"]["accuracy"]
    interval = f"[{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    assert re.search(rf"^accuracy +{100 * accuracy['value']:.1f} % +{re.escape(interval)} +32$", shown, re.MULTILINE)
    for name in ("balanced accuracy", "macro F1", "negative log-likelihood", "calibration error"):
        assert re.search(rf"^{name} +[0-9.]+( %)? +\[", shown, re.MULTILINE), name
    weakest = told["classes"][0]
    taken = rf"{weakest['taken_for']} \({weakest['n_taken_for']}\)" if weakest["taken_for"] else ""
    interval = re.escape(f"[{100 * weakest['low']:.1f}, {100 * weakest['high']:.1f}]")
    line = rf"most often taken for\n{weakest['label']} +{weakest['n']} +{weakest['n_right']} +{interval} +{taken}"
    assert re.search(line if taken else rf"{weakest['label']} +{weakest['n']}", shown)


def test_compare(room):
    other = call_json("train", "digits", *QUICK, "--set", "loop.steps=3", "--set", "loop.seed=1")
    told = call_json("compare", other["name"], "last", "more")
    keys = {
        "a",
        "b",
        "n",
        "n_units",
        "in_blocks",
        "metric",
        "difference",
        "p_value",
        "fixed",
        "broken",
        "sentence",
        "sizes",
        "kinship",
    }
    assert set(told) == keys
    of_each = {"model", "metrics", "n_parameters", "seconds", "writing", "n_learned", "left_out", "unknown_labels"}
    assert set(told["a"]) == of_each
    assert (told["a"]["writing"], told["sizes"]) == (None, "")
    assert told["n"] == 32
    assert told["difference"]["value"] == 0
    assert told["kinship"] == "A and B are the same model: their weights are the same."
    assert told["fixed"] == told["broken"] == []
    first = sorted((room / "runs").iterdir())[0].name
    told = call_json("compare", other["name"], first, "more")
    a, b = (told[name]["metrics"]["accuracy"]["value"] for name in "ab")
    assert b - a == pytest.approx((len(told["fixed"]) - len(told["broken"])) / 32)
    assert set(told["fixed"]) <= {f"{path.parent.name}/{path.name}" for path in (room / "more").rglob("*.png")}
    shown = call("compare", other["name"], first, "more").stdout
    assert told["sentence"] in shown
    assert told["kinship"] == ""
    assert f"A  {other['name']}\nB  {first}\n" in shown
    assert not re.search(r"macro_f1|nll|\bece\b", shown)
    for name in ("fixed", "broken"):
        assert (f"{name} by B: `" in shown) == bool(told[name])
    write_digits(room / "fours", per_class=6, classes="45")
    write_digits(room / "ones and fours", per_class=6, classes="14", skip=40)
    strange = call_json("train", "fours", *QUICK, "--set", "loop.steps=2")
    error = call("compare", first, strange["name"], "ones and fours", status=1).stderr
    assert (
        "A does not know the labels `4` (6). B does not know the labels `1` (6). Compare them on other data." in error
    )
    mixed = call("compare", first, other["name"], "ones and fours").stdout
    assert "left out for A: 6 (unknown label)\nA does not know the labels `4` (6).\nleft out for B: 6" in mixed
    call("runs", "rm", "--yes", strange["name"])
    tuned = call_json("train", "ones and fours", "--from", other["name"], *QUICK, "--set", "loop.steps=2")
    from_it = "B was started from A, so it has learned from the data of A too."
    assert from_it in call("compare", other["name"], tuned["name"], "more").stdout
    told = call_json("compare", tuned["name"], other["name"], "more")
    assert told["kinship"] == "A was started from B, so it has learned from the data of B too."
    call("runs", "rm", "--yes", tuned["name"])
    call("runs", "rm", "--yes", other["name"])


def test_two_models_are_compared_on_the_rows_that_neither_learned_from(room):
    other = call_json("train", "more", *QUICK, "--set", "loop.steps=3")
    first = sorted((room / "runs").iterdir())[0].name
    told = call_json("compare", first, other["name"], "more")
    assert told["n"] == call_json("check", "more")["splits"]["test"]
    a, b = (told[name]["metrics"]["accuracy"]["value"] for name in "ab")
    assert b - a == pytest.approx(told["difference"]["value"])
    call("runs", "rm", "--yes", other["name"])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["refine", "digits", "--set", "loop.patience=3"], "loop.patience"),
        (["refine", "digits", "--set", "loop.minutes=3"], "--minutes"),
        (["train", "digits", "--recipe", "recipe.json", "--preset", "base"], "--set model.preset=base"),
    ],
)
def test_settings_that_would_not_count_are_refused(room, arguments, hint):
    assert hint in call(*arguments, status=2).stderr


def test_predict_files_folders_and_standard_input(room):
    files = sorted((room / "more").rglob("*.png"))
    told = call_json("predict", "last", "more")["predictions"]
    assert [one["input"] for one in told] == [str(path.relative_to(room)) for path in files]
    for one in told:
        assert set(one) == {"input", "label", "score", "scores"}
        assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-4)
        assert one["label"] == max(one["scores"], key=one["scores"].get)
    names = "".join(f"{path}\n" for path in files)
    piped = read_object(call("predict", "last", "-", "--json", stdin=names).stdout)["predictions"]
    assert [one["scores"] for one in piped] == [one["scores"] for one in told]
    content = call("predict", "last", "-", "--format", "jsonl", stdin=files[0].read_bytes()).stdout
    assert json.loads(content)["scores"] == told[0]["scores"]
    named = call("predict", "last", files[1], files[0], "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["scores"] for line in named] == [told[1]["scores"], told[0]["scores"]]


def test_runs_stand_in_columns_with_headings(room, monkeypatch):
    told = read_object(call("runs", "--json").stdout)["runs"]
    heading, *lines = call("runs").stdout.splitlines()
    names = ("run", "state", "on unseen data", "value", "95 % interval", "size")
    assert re.split("  +", heading.rstrip()) == list(names)
    assert [line.split()[0] for line in lines] == [one["name"] for one in told]
    one, line = next((one, line) for one, line in zip(told, lines, strict=True) if one["metric"] == "accuracy")
    start = heading.index("on unseen data")
    assert line[start:].startswith("accuracy ")
    value = f"{100 * one['value']:.1f}\u202f%"
    assert line.index(value) + len(value) == heading.index("value") + len("value")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("runs").stdout.splitlines()
    assert lines[::2] == [one["name"] for one in told], "a name is never broken"
    assert [line.split()[0] for line in lines[1::2]] == [one["state"] for one in told]
    assert any(value in line for line in lines[1::2])


def test_predict_as_csv_and_table(room):
    import csv
    import io

    rows = list(csv.DictReader(io.StringIO(call("predict", "last", "more", "--format", "csv").stdout)))
    assert len(rows) == 32
    assert set(rows[0]) == {"input", "label", "score", "error", "0", "1", "2", "3"}
    assert all(float(row["score"]) == max(float(row[label]) for label in "0123") for row in rows)
    head, *table = call("predict", "last", "more").stdout.splitlines()
    assert re.split(" {2,}", head) == ["file", "answer", "best scores"]
    assert [re.split(" {2,}", line)[:2] for line in table] == [[row["input"], row["label"]] for row in rows]
    assert len({line.index(row["label"], head.index("answer")) for line, row in zip(table, rows, strict=True)}) == 1


def test_files_are_opened_by_worker_processes_that_stay(room, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start_process(*arguments, **others):
        started.append(arguments[0])
        return popen(*arguments, **others)

    monkeypatch.setattr("subprocess.Popen", start_process)
    told = call_json("predict", "last", *["more"] * 6, "--workers", "2")
    assert len(told["predictions"]) == 6 * 32
    assert [one[-1] for one in started] == ["ouvroir.data._worker"] * 2


def test_unreadable_file_gives_a_row_and_status_1(room):
    good = next((room / "more").rglob("*.png"))
    (room / "broken.png").write_bytes(good.read_bytes()[:40])
    for output in ("json", "jsonl", "csv", "table"):
        done = call("predict", "last", "broken.png", good, "nothere.png", "--format", output, status=1)
        assert "broken.png" in done.stdout
        assert "`nothere.png` is not there" in done.stdout
    told = call_json("predict", "last", "broken.png", good, "nothere.png", status=1)["predictions"]
    assert [set(one) for one in told] == [{"input", "error"}, {"input", "label", "score", "scores"}, {"input", "error"}]


def test_pictures_of_unread_kinds_get_a_row_and_other_files_a_line(room):
    (room / "phone").mkdir()
    shutil.copy(next((room / "more").rglob("*.png")), room / "phone" / "a.png")
    for name in ("b.HEIC", "notes.txt"):
        (room / "phone" / name).write_bytes(b"x")
    done = call("predict", "last", "phone", "--format", "jsonl", status=1)
    good, refused = map(json.loads, done.stdout.splitlines())
    assert good["label"]
    assert "Convert it to JPEG" in refused["error"]
    assert "1 file of another kind was left out: 1 .txt." in done.stderr


def test_files_that_break_off_still_give_one_object(room):
    (room / "void").mkdir(exist_ok=True)
    told = read_object(call("predict", "last", "void", "--json", status=2).stdout)
    assert told["error"] == "UsageError"
    many = ["more"] * 2  # more than one batch comes before it
    told = read_object(call("predict", "last", *many, "void", "--json", status=1).stdout)
    assert len(told["predictions"]) == 64
    assert "no file to answer for" in told["message"]


def test_threshold_gives_none_of_these(room):
    sure = call_json("predict", "last", "more", "--threshold", "0")["predictions"]
    scores = sorted(one["score"] for one in sure)
    middle = (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2  # no score: those printed are rounded
    told = call_json("predict", "last", "more", "--threshold", str(middle))["predictions"]
    assert [one["label"] is None for one in told] == [one["score"] < middle for one in sure]
    assert "(none of these)" in call("predict", "last", "more", "--threshold", "1").stdout
    assert "--threshold" in call("predict", "last", "more", "--threshold", "2", status=2).stderr


def test_report_again_in_french(room):
    told = call_json("report", "last", "--language", "fr")
    page = Path(told["report"])
    assert '<html lang="fr"' in page.read_text(encoding="utf-8")
    assert call("report", "last").stdout == f"{page}\n"
    assert '<html lang="en"' in page.read_text(encoding="utf-8"), "one look in French is no change of the run"


def test_runs_and_cache(room):
    told = call_json("runs")["runs"]
    keys = {"name", "path", "state", "sentence", "task", "data", "metric", "value", "low", "high", "refit_of"}
    assert set(told[0]) == keys | {"changed_at", "size_bytes"}
    assert told[0]["state"] == "finished"
    assert told[0]["name"] in call("runs").stdout  # on one line, though a pipe has no width
    assert call_json("runs", "--runs", "nowhere") == {"runs": []}
    assert f"no runs in {room / 'nowhere'}" in call("runs", "--runs", "nowhere").stderr
    entries = call_json("cache")["entries"]
    assert set(entries[0]) == {"kind", "name", "data", "path", "size_bytes", "n_files", "used_at", "is_busy"}
    assert {"manifests", "packs", "facts"} <= {one["kind"] for one in entries}
    listed = call("cache").stdout
    assert re.search(r"^packs \w+ +digits", listed, re.MULTILINE)
    assert re.search(rf"^{len(entries)} entries, [0-9.]+ [kM]?B\.$", listed, re.MULTILINE)


def test_cache_rm_and_on_we_go(room):
    told = call_json("cache", "rm", "packs", "--unused-days", "1")
    assert told == {"removed": []}
    removed = call_json("cache", "rm", "packs")["removed"]
    assert {one["kind"] for one in removed} == {"packs"}
    assert not any(Path(one["path"]).exists() for one in removed)
    before = call_json("evaluate", "last", "digits")
    call("cache", "rm")
    assert {one["kind"] for one in call_json("cache")["entries"]} == {"splits"}
    assert call_json("evaluate", "last", "digits") == before
    call("cache", "rm")
    call("cache", "rm", "splits")
    assert call_json("cache")["entries"] == []
    assert "Nothing is kept" in call("cache").stdout


def test_refit(room):
    judged = Run.open("last", room / "runs")
    told = call_json("refit", "last")
    assert set(told) == RUN_KEYS
    assert told["name"].endswith("image-classification-digits-refit")
    kept, new = (json.loads((one / "config.json").read_text()) for one in (judged.bundle, Path(told["model"])))
    assert new["threshold"] == kept["threshold"] > 0
    entry = call_json("runs")["runs"][-1]
    assert (entry["metric"], entry["value"], entry["refit_of"]) == (None, None, judged.name)
    assert re.search(rf"-refit +finished +as {judged.name} \(refit\)", call("runs").stdout)
    assert repr(Run(Path(told["run"]))) == f"<Run {told['name']}, finished, refit of {judged.name}>"
    exported = call("export", told["name"], "--to", "pth")
    assert "replaying 80 train rows (nothing was held out) through it." in exported.stderr
    assert "answers like the model on all 80 train rows (nothing was held out); " in exported.stdout
    assert told["state"] == "finished"
    assert "all 80 rows" in told["sentence"]
    assert told["metrics"] == {}
    n_train = call_json("check", "digits")["splits"]["train"]
    assert told["steps"] == round(30 * 80 / n_train)
    card = (Path(told["model"]) / "README.md").read_text(encoding="utf-8")
    assert "80" in card
    left_out = call("evaluate", told["name"], "digits", "--split", "all", status=1).stderr
    assert "80 learned from" in left_out  # nothing is left that it has not seen
    shutil.rmtree(told["model"])  # as if it had been killed before the model was written
    again = call_json("train", "--resume", told["name"])
    assert again["sentence"] == told["sentence"]
    assert json.loads((Path(again["model"]) / "config.json").read_text(encoding="utf-8"))["refit"] is True
    call("runs", "rm", "--yes", told["name"])


def test_a_refit_of_the_main_job_keeps_its_threshold(room):
    job = call_json("refine", "digits", "--no-synthetic", *QUICK, *STEPS)
    again = call_json("refit", job["name"])
    kept, new = (json.loads(Path(one["model"], "config.json").read_text())["threshold"] for one in (job, again))
    assert new == kept > 0
    call("runs", "rm", "--yes", job["name"])
    figures = json.loads(Path(again["model"], "config.json").read_text())["metrics"]
    shutil.rmtree(again["model"])  # as if it had been killed before; the run that was judged is gone meanwhile
    resumed = call_json("train", "--resume", again["name"])
    config = json.loads(Path(resumed["model"], "config.json").read_text())
    assert (config["metrics"], config["threshold"]) == (figures, kept)
    assert figures
    assert resumed["sentence"].endswith(f"{job['name']} has the figures.")
    call("runs", "rm", "--yes", again["name"])


def test_classes_that_will_be_forgotten_are_named_before_training(room):
    write_digits(room / "others", per_class=6, classes="145")
    done = call("finetune", "last", "others", "--set", "loop.steps=2", "--json")
    note = "The model to start from knows `0`, `2`, `3`, and no train row here has them. The new model forgets them"
    assert done.stderr.index(note) < done.stderr.index("Training for 2 steps")
    assert "add examples of them to the data" in done.stderr
    told = read_object(done.stdout)
    report = json.loads((Path(told["run"]) / "report.json").read_text(encoding="utf-8"))
    assert any(one["text"].startswith(note) for one in report["ledger"]["notes"])
    call("runs", "rm", "--yes", told["name"])
    done = call("refine", "others", *QUICK, "--from", "last", "--dry-run")
    assert note in done.stderr
    assert "forgets" not in call("finetune", "last", "digits", "--set", "loop.steps=2", "--dry-run").stderr


def test_a_damaged_model_starts_no_other(room):
    model = shutil.copytree(Run.open("last", room / "runs").bundle, room / "damaged_model")
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 64
    (model / "model.safetensors").write_bytes(content)
    runs = sorted((room / "runs").iterdir())
    assert "model.safetensors is not as it was written" in call("finetune", model, "digits", status=1).stderr
    assert sorted((room / "runs").iterdir()) == runs


def test_a_run_goes_on_without_the_cache_after_files_were_added(room):
    write_digits(room / "growing", per_class=8)
    call("check", "growing")
    write_digits(room / "growing", per_class=6, skip=30)
    done = call_json("train", "growing", *QUICK, "--set", "loop.steps=3")
    call("cache", "rm")  # with it goes what kept the rows where they had been
    assert call_json("train", "--resume", done["name"])["metrics"] == done["metrics"]
    assert call_json("evaluate", done["name"], "growing")["metrics"] == done["metrics"]
    call("runs", "rm", "--yes", done["name"])


def test_a_run_at_work_is_left_to_its_process(room):
    last = Run.open("last", room / "runs")
    with last.hold():
        last.set_status("running", "Training.")
        with unchanged(last.path):
            assert "Another process" in call("train", "--resume", last.name, status=1).stderr
    assert f"`ouvroir train --resume {last.path}` goes on" in last.status()["sentence"]
    last.set_status("finished", "Finished after 30 steps.")


def test_last_is_the_newest_run_that_is_finished_and_it_is_said(room, tmp_path):
    runs = ("--runs", tmp_path)
    for number, name in enumerate(("first", "second")):
        path = shutil.copytree(Run.open("last", room / "runs").path, tmp_path / name)
        Run(path).write_json("environment.json", {"created": number})
    Run(tmp_path / "second").set_status("stopped", "Stopped after step 20 of 30.")
    assert "`last` is the run first." in call("predict", "last", "more", *runs).stderr
    assert call("predict", "last", "more", *runs, "--quiet").stderr == ""
    call("predict", "first/final_model", "more", *runs)
    told = call("predict", "second", "more", *runs).stderr
    assert "second is not finished" in told
    assert f"`ouvroir train --resume {tmp_path / 'second'}` goes on" in told
    shutil.rmtree(tmp_path / "first")
    told = call("evaluate", "last", "more", *runs, status=1).stderr
    assert "The newest is second: `ouvroir train --resume" in told
    assert "`last` is the run second." in call("train", "--resume", "last", *runs).stderr
    assert "waits to be resumed" in call("train", "--resume", "last", *runs, status=1).stderr


def test_a_run_is_removed_when_a_person_or_the_call_says_yes(room, tmp_path):
    for name in ("one", "other"):
        shutil.copytree(Run.open("last", room / "runs").path, tmp_path / name)
    told = call("runs", "rm", "one", "--runs", tmp_path, status=2).stderr
    assert "no terminal to ask on. With --yes" in told
    for answer, is_left in (("n", True), ("y", False)):
        ours, theirs = pty.openpty()
        process = start("runs", "rm", "one", "--runs", tmp_path, stdin=theirs)
        os.write(ours, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
        assert re.search(r"Remove \S+/one \([\d.]+ [kM]B\) for good\? \[y/N\]", err)
        assert process.returncode == is_left
        assert (tmp_path / "one").exists() == is_left
        os.close(ours), os.close(theirs)
    assert re.fullmatch(r"Removed \S+/one, [\d.]+ [kM]B\.\n", out)
    told = call_json("runs", "rm", "--yes", "other", "--runs", tmp_path)
    assert told["removed"] == [str(tmp_path / "other")]
    assert told["size_bytes"] > 10_000


def test_a_recipe_may_start_from_a_model(room):
    recipe = next((room / "runs").glob("*digits/recipe.json"))
    told = call_json("train", "more", "--recipe", recipe, "--from", "last", "--dry-run")
    assert told["models"][0]["recipe"]["model"]["init_from"].endswith("final_model")


def test_export(room):
    told = call_json("export", "last", "--to", "pth", "--folder", "weights")
    keys = {"path", "format", "size_bytes", "n_items", "items", "largest_difference", "tolerance", "sentence"}
    assert set(told) == keys | {"agreement", "remarks", "use"}
    assert Path(told["path"]).is_file()
    assert told["n_items"] > 0


def test_a_format_that_does_not_fit_is_refused_before_anything_is_written(room):
    done = call("export", "last", "--to", "hf", "--folder", "nowhere_hf", status=2)
    assert "Ouvroir's own network" in done.stderr
    assert "Writing" not in done.stderr
    assert not Path("nowhere_hf").exists()


def test_sample_and_doctor(room):
    told = call_json("sample", "image-classification", "sampled")
    assert told == {"folder": str(room / "sampled"), "files": 1797}
    assert len(list((room / "sampled").rglob("*.png"))) == 1797
    told = call_json("doctor")
    assert set(told) == {"ready", "worst", "findings"}
    assert set(told["findings"][0]) == {"subject", "level", "text", "next_step"}


# ---------------------------------------------------------------- surroundings


def test_a_closed_pipe_is_no_accident(room):
    """`ouvroir predict ... | head -1`."""
    command = f"{sys.executable} -m ouvroir predict last {'more ' * 40} --quiet --format jsonl | head -1"
    done = subprocess.run(command, check=False, shell=True, capture_output=True, text=True, env=environment())
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_reference_names_every_command(room):
    reference = Path(__file__).parents[1] / "docs" / "reference" / "json.md"
    text = reference.read_text(encoding="utf-8")
    leaves = [words for words in commands() if words]
    for words in leaves:
        assert f"`{' '.join(words)}`" in text, words
