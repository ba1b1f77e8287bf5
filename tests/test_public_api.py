"""What `import ouvroir` offers, used as a script would use it."""

import json
import subprocess
import sys

import pytest

import ouvroir
from ouvroir.options import Training, Workplace
from pictures import environment, write_digits

NAMES = """
Arm OuvroirError Recipe Run SHOWN Sampling Way check compare evaluate export finetune generate load predict prove refine refit
report resume sample stream train write
""".split()


def test_the_public_names_grow_deliberately():
    assert sorted(ouvroir.__all__) == NAMES
    assert all(getattr(ouvroir, name).__doc__ for name in NAMES)


SCRIPT = """
import json
import logging
import ouvroir

quick = {"loop.steps": "6", "loop.precision": "fp32", "loop.layout": "contiguous", "loop.threads": "1"}
manifest = ouvroir.check("digits", workers=2)
run = ouvroir.train("digits", preset="tiny", settings=quick, workers=2)
better = ouvroir.refine("digits", preset="tiny", settings=quick)
tuned = ouvroir.finetune(run.path, "digits", settings={"loop.steps": "3"})
found = ouvroir.evaluate(run.path, "digits")
paired = ouvroir.compare(run.path, better.path, "digits")
answers = ouvroir.load(run.path).predict(["digits/0/" + name for name in NAMES_OF_ZERO] + ["nothere.png"])
same = ouvroir.predict(run.path, ["digits/0/" + NAMES_OF_ZERO[0]])
page = ouvroir.report(run.path, language="fr")
again = ouvroir.resume(run.path)
whole = ouvroir.refit(run.path)
exported = ouvroir.export(run.path, "pth")
try:
    ouvroir.check("nothere")
except ouvroir.OuvroirError as error:
    message = str(error)
print(json.dumps({
    "found": manifest.found,
    "states": [one.status()["state"] for one in (run, better, tuned, again, whole)],
    "accuracy": found.judgement.metrics["accuracy"].value,
    "n": paired.comparison.n,
    "labels": [answer.label for answer in answers],
    "same": same[0].label == answers[0].label,
    "page": page.is_file(),
    "exported": exported.path,
    "message": message,
    "recipe": ouvroir.Recipe.from_json((run.path / "recipe.json").read_text()) == run.recipe(),
    "last": ouvroir.Run.open("last").name == whole.name,
}, default=str))
"""


@pytest.mark.parametrize(
    "flags", [pytest.param([], id="plain"), pytest.param(["-O"], id="optimised", marks=pytest.mark.slow)]
)
def test_a_script_without_a_main_guard(tmp_path, flags):
    """Worker processes do not run the script again; nothing is printed but what it prints; no warning is raised."""
    write_digits(tmp_path / "digits")
    names = sorted(path.name for path in (tmp_path / "digits" / "0").iterdir())[:2]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("NAMES_OF_ZERO", repr(names)))
    command = [sys.executable, "-W", "error", *flags, str(script)]
    done = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(OUVROIR_HOME=str(tmp_path / "home")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["found"] == 24
    assert told["states"] == ["finished"] * 5
    assert len(told["labels"]) == 3
    assert told["labels"][2] is None
    assert told["same"] and told["page"] and told["recipe"] and told["last"]  # noqa: PT018 - one line of truths
    assert "There is nothing at" in told["message"]


def test_a_script_on_standard_input(tmp_path):
    """No file at all stands behind `__main__`."""
    write_digits(tmp_path / "digits")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        check=False,
        cwd=tmp_path,
        input="import ouvroir; print(ouvroir.check('digits', workers=2).found)",
        capture_output=True,
        text=True,
        env=environment(OUVROIR_HOME=str(tmp_path / "home")),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "24\n", "")


def test_work_may_be_shown_and_a_run_says_what_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ouvroir.progress.SECONDS_BETWEEN_LINES", 0.0)
    write_digits(tmp_path / "digits")
    quick = {"loop.steps": "3", "loop.precision": "fp32", "loop.layout": "contiguous", "loop.threads": "1"}
    run = ouvroir.train(
        tmp_path / "digits", preset="tiny", settings=quick, runs=tmp_path / "runs", progress=ouvroir.SHOWN
    )
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "24 files found" in printed.err
    assert "\nTraining: 3/3 loss " in printed.err
    value = run.headline()[1]["value"]
    assert repr(run).startswith(f"<Run {run.name}, finished, accuracy {value:.3f} [")
    (run.path / "evaluation.json").write_text("{")
    assert repr(run) == f"<Run {run.name}, finished>"  # a damaged folder can be looked at


def test_settings_may_be_numbers_booleans_and_none():
    plain = ouvroir.Recipe.from_dict({"task": "image-classification"})
    typed = {
        "loop.steps": "20",
        "data.test": "0.3",
        "loop.exact": "true",
        "constants.phi": "off",
        "loop.minutes": "none",
    }
    given = {"loop.steps": 20, "data.test": 0.3, "loop.exact": True, "constants.phi": False, "loop.minutes": None}
    assert plain.with_overrides(given) == plain.with_overrides(typed) != plain


def test_settings_of_python_are_read_as_those_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    write_digits(tmp_path / "digits")
    manifest = ouvroir.check(
        tmp_path / "digits", settings={"data.test": 0.5, "data.validation": 0, "data.label_column": None}
    )
    assert manifest.summary()["splits"] == {"train": 12, "validation": 0, "test": 12}
    with pytest.raises(ouvroir.OuvroirError, match=r"`loop.steps` cannot be \[20\]"):
        ouvroir.train(tmp_path / "digits", settings={"loop.steps": [20]})
    forecast = ouvroir.api.dry_run(
        "refine",
        Training(tmp_path / "digits", preset="tiny", settings={"loop.steps": 3, "loop.exact": False}),
        Workplace(tmp_path / "runs"),
    )
    assert {model.recipe.loop.exact for model in forecast.models} == {False}


def test_said_things_go_to_the_log(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    write_digits(tmp_path / "digits")
    with caplog.at_level("INFO", logger="ouvroir"):
        ouvroir.check(tmp_path / "digits")
    assert "24 files found" in caplog.text
