"""From a corpus to models that write: split without labels, trained side by side, gone on with; by the API and by commands."""

import json
import random
import re
import shlex
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import ouvroir
from ouvroir.bundle import load_bundle
from ouvroir.cli import app
from ouvroir.comparing import ModelComparison
from ouvroir.errors import DataError, UsageError
from ouvroir.evaluation.evaluate import load_answers
from ouvroir.evaluation.french import in_french
from ouvroir.evaluation.language import LANGUAGES, Language
from ouvroir.evaluation.page import render
from ouvroir.main_job import choose
from ouvroir.media import find_task
from ouvroir.media.text.corpus import CorpusProcessor, windows
from ouvroir.media.text.passages import Passages
from ouvroir.media.text.sampling import Spoken
from ouvroir.media.text.tokens import BEGIN, END, Tokenizer
from ouvroir.options import Training, Workplace
from ouvroir.planning import propose_recipe
from ouvroir.progress import QUIET
from ouvroir.reporting import kept_model
from ouvroir.run import Run
from ouvroir.sampling import Sampling
from ouvroir.source import Source, block_locator
from ouvroir.task import Limits
from ouvroir.training.checkpoint import step_of
from ouvroir.workflow import bundle_run, manifest_of
from ouvroir.writing import MOMENT_PIECES, SHOWN_TEMPERATURE, written_by

FRENCH = Language("fr")
QUICK = {
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 8,
    "loop.batch_size": 8,
    "options.context": 32,
}
NAMES = "Ann Bob Cléo Dan Eve Zoë".split()
VERBS = "sees hears knows likes meets paints".split()
THINGS = "the sea|a long road|the old lamp|two birds|rain at night|bread 🙂".split("|")


def lines(seed, n):
    rng = random.Random(seed)
    return "".join(f"{rng.choice(NAMES)} {rng.choice(VERBS)} {rng.choice(THINGS)}.\n" for _ in range(n))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        (place / "books").mkdir()
        for number in range(3):
            (place / "books" / f"book{number}.txt").write_text(lines(number, 3000), encoding="utf-8")
        yield place


@pytest.fixture(scope="module")
def job(place):
    settings = {**QUICK, "loop.steps": 60, "data.seed": 1}
    return ouvroir.refine(place / "books", preset="tiny", settings=settings, runs=place / "runs", language="fr")


def test_files_without_labels_are_a_corpus_in_blocks(place):
    manifest = ouvroir.check(place / "books")
    assert manifest.task == "text-generation"
    assert "in_blocks" in [note.code for note in manifest.notes]
    read = "".join(
        row.source(manifest.root).read(10**6).decode()
        for row in sorted(
            manifest.rows, key=lambda row: (row.locator.split("@")[0], int(row.locator.split("@")[1].split("+")[0]))
        )
    )
    assert read == "".join((place / "books" / f"book{number}.txt").read_text("utf-8") for number in range(3))
    shares = {split: len(manifest.positions(split)) / len(manifest.rows) for split in ("train", "validation", "test")}
    assert 0.05 < shares["test"] < 0.2
    assert 0.05 < shares["validation"] < 0.2


def test_a_forecast_is_of_models_as_large_as_those_that_are_trained(place, job):
    settings = {**QUICK, "loop.steps": 60, "data.seed": 1}
    training = Training(place / "books", None, "tiny", settings=settings)
    forecast = ouvroir.api.dry_run("refine", training, Workplace(runs=place / "runs"))
    told = {model.name: model.n_parameters for model in forecast.models}
    assert told == {name: sum(one.numel() for one in ouvroir.load(job.path / name).model.parameters()) for name in told}


def test_what_a_check_says_of_a_corpus_names_no_empty_label(place):
    result = CliRunner().invoke(app, ["check", str(place / "books")], catch_exceptions=False)
    n = len(ouvroir.check(place / "books").rows)
    assert re.search(rf"^{n} blocks found in \S+, {n} to check\.", result.stderr, re.MULTILINE)
    assert re.search(r"^ +train +validation +test *\nin all +\d", result.stdout, re.MULTILINE)
    assert "label" not in result.stdout


def test_blocks_and_windows_are_called_so_while_it_works(place, capsys):
    settings = {**QUICK, "loop.steps": 2, "options.network": "lstm", "options.tokenizer": "bytes"}
    ouvroir.train(
        place / "books" / "book0.txt", preset="tiny", settings=settings, runs=place / "told", progress=ouvroir.SHOWN
    )
    said = capsys.readouterr().err
    assert re.search(r"^\d+ blocks found in .*book0\.txt, ", said, re.MULTILINE)
    assert re.search(r"^Packing \d+ blocks?: ", said, re.MULTILINE)
    assert "Training for 2 steps of 8 windows" in said
    assert not re.search(r"\d rows?\b", said)


def test_a_copy_of_a_model_that_answers_nothing_is_asked_one_row_only(job, monkeypatch, tmp_path):
    task, asked = find_task("text-generation"), []
    step = type(task).step
    monkeypatch.setattr(
        type(task),
        "step",
        lambda self, model, batch, *a, **k: (asked.append(len(batch["pieces"])), step(self, model, batch, *a, **k))[1],
    )
    bundle_run(kept_model(job), folder=tmp_path / "copy")
    assert asked == [1]
    assert len(load_bundle(tmp_path / "copy").check_items()) > 1, "they are kept, to prove an export with"


@pytest.mark.parametrize(
    ("name", "title", "constants", "formats"),
    [
        ("lstm", "an LSTM", "φ −1/12", "onnx pth"),
        ("transformer", "a Transformer", "φ π 1/137 −1/12", "onnx pth hf gguf"),
    ],
)
def test_the_card_of_a_model_that_writes_says_what_works(job, tmp_path, monkeypatch, name, title, constants, formats):
    pytest.importorskip("transformers")
    bundle_run(Run(job.path / name), folder=tmp_path / "final_model")
    card = (tmp_path / "final_model" / "README.md").read_text(encoding="utf-8")
    assert f"The network is {title}: preset `tiny`" in card
    assert re.search(r"Measured on \d+ blocks of the test split", card)
    assert "| split | blocks |" in card
    assert "60 steps of 8 windows" in card
    assert not re.search(r"\brows?\b|ouvroir predict|predictor", card)
    assert re.findall(r"^\| (φ|π|1/137|−1/12) \|", card, re.MULTILINE) == constants.split()
    assert re.findall(r"^ouvroir export final_model --to (\w+)$", card, re.MULTILINE) == formats.split()
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    exec(code, {})  # as a reader does
    (call,) = re.findall(r"^ouvroir (generate .*)$", card, re.MULTILINE)
    assert CliRunner().invoke(app, [*shlex.split(call), "-q"]).stdout.startswith("A beginning")


def test_the_report_shows_the_constants_that_act(job):
    report = job.read_json("report.json")
    assert report["kept"] in ("lstm", "transformer")
    for constants, symbols in (
        (find_task(job.recipe().task).constants(kept_model(job).recipe()), None),
        ({"phi": "X."}, ["φ"]),
    ):
        page = render({**report, "constants": {key: [use, None] for key, use in constants.items()}})
        shown = re.findall(r'<tr><th scope="row">(φ|π|1/137|−1/12)</th>', page)
        assert len(shown) == len(constants)
        assert symbols in (None, shown)
    assert report["constants"].keys() == find_task(job.recipe().task).constants(kept_model(job).recipe()).keys()
    assert all(french for _, french in report["constants"].values())


def test_both_networks_stand_beside_the_n_grams(job):
    report = job.read_json("report.json")
    names = [one["name"] for one in report["systems"]]
    assert names == ["n-grams (Kneser-Ney)", "lstm", "transformer"]
    assert report["kept"] in ("lstm", "transformer")
    values = {one["name"]: one["metrics"]["nats_per_character"]["value"] for one in report["systems"]}
    assert all(0.1 < value < 4 for value in values.values())
    kinds = [pair["kind"] for pair in report["pairs"]]
    assert kinds == ["baseline", "rival", "rival_baseline"]
    chosen = [Run(job.path / name).read_json("evaluation.json")["validation"] for name in ("lstm", "transformer")]
    best = min((0, 1), key=lambda place: chosen[place]["nats_per_character"]["value"])
    assert report["kept"] == ("lstm", "transformer")[best]
    page = (job.path / "report.html").read_text(encoding="utf-8")
    assert "Ce qu’il écrit" in page
    seconds = [one["seconds"] for one in report["systems"][1:]]
    said = "Entraîné aussi longtemps (" if abs(seconds[0] - seconds[1]) <= 0.05 * max(seconds) else "Entraîné pendant "
    assert said in page
    assert report["window"] == {"context": 32, "stride": 16}
    assert "fenêtres de 32 morceaux, une nouvelle tous les 16 morceaux" in page
    assert f"pas en {FRENCH.seconds(seconds[0])} avec " in page
    assert "préentraînés" not in " ".join(report["verdict"]["lines"]["fr"])


def test_the_settings_of_both_networks_are_shown_as_they_were_worked_out(job):
    report = job.read_json("report.json")
    processor = ouvroir.load(job.path).processor
    assert list(report["settings_of"]) == ["lstm", "transformer"]
    for name, found in report["settings_of"].items():
        assert found["options.network"] == f'"{name}"'
        assert found["options.n_pieces"] == str(processor.tokenizer.n)
        assert found["options.context"] == "32"
        assert found["options.max_pieces"] == str(processor.longest)
    assert {name: value for name, value, *_ in report["settings"]} == report["settings_of"][report["kept"]]
    assert job.recipe().options.n_pieces is None
    assert "Taille du vocabulaire" in (job.path / "report.html").read_text(encoding="utf-8")


def test_the_lines_that_the_report_shows_run_as_they_are(job, capsys):
    lines = job.read_json("report.json")["use"]
    for key, begin in (("python", "Once upon a time"), ("python_fr", "Il était une fois")):
        assert begin in lines[key]
        exec(lines[key], {})
        assert capsys.readouterr().out.strip()


def test_what_it_wrote_and_its_habits_are_kept(job):
    for name in ("lstm", "transformer"):
        moments = Run(job.path / name).read_json("moments.json")
        assert {one["temperature"] for one in moments} == {0.5, 0.8, 1.0}
        assert moments[-1]["step"] == 60
        habits = Run(job.path / name).read_json("habits.json")
        assert 0 <= habits["repetition"] <= 1
        assert habits["passage"] in "".join(lines(number, 3000) for number in range(3))
        assert len(habits["passage"]) == habits["copied"]
        assert habits["texts"] == habits["texts_real"] == 8
        assert habits["pieces"] == habits["pieces_real"] == 400
        assert habits["searched"] == 1
        assert all(len(one["candidates"]) == 5 for one in habits["expected"])


def test_a_job_that_is_not_finished_says_what_its_models_can_do_until_then(job):
    assert re.search(r"Until then `ouvroir generate \S+ --prompt TEXT` goes on with a text\.$", job.what_now)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_the_same_seed_goes_on_with_a_prompt_in_the_same_words(job, name):
    model = ouvroir.load(job.path / name)
    how = Sampling(most=30)
    for wrong in (3, ["a", 3], b"a"):
        with pytest.raises(UsageError, match="A prompt is a text, and not of type int"):
            model.write(wrong)
    first = model.write("Ann sees", how=how, seed=3)
    assert model.write("Ann sees", how=how, seed=3) == first
    assert model.write("Ann sees", how=how, seed=4) != first
    assert "".join(text for _, text in model.stream("Ann sees", how=how, seed=3)) == first
    four = model.write(["", "Bob", "Ann sees", "Ann sees"], how=how, seed=3)
    assert four[2] == first, "whatever else is asked with it"
    assert four[3] != first, "but not twice the same"
    likely = Sampling(most=20, temperature=0)
    assert model.write("Bob", how=likely, seed=0) == model.write("Bob", how=likely, seed=9)


def test_writing_ends_before_a_string_that_stops_it(job):
    model = ouvroir.load(job.path)
    whole = model.write("Eve ", how=Sampling(most=60), seed=1)
    stop = whole[len(whole) // 2 :][:2]
    text = model.write("Eve ", how=Sampling(most=60, stops=(stop, "never")), seed=1)
    assert text == whole.split(stop)[0]
    assert len(text) < len(whole)
    said = CliRunner().invoke(
        app, ["generate", str(job.path), "--prompt", "Eve ", "--most", "60", "--seed", "1", "--stop", stop, "-q"]
    )
    assert said.stdout == f"Eve {text}\n", "the prompt, and what comes before the string"
    assert "not printed itself" in " ".join(
        CliRunner().invoke(app, ["generate", "--help"]).output.replace("│", " ").split()
    )


def test_a_job_makes_samples_with_the_model_that_it_kept(job):
    made = ouvroir.generate(job.path, count=2)
    assert len(made.samples) == 2
    assert made.folder.parent == job.kept.path
    assert all(sample.id.startswith("samples/") for sample in made.samples)
    assert job.kept.name in ("lstm", "transformer")
    assert job.kept.name in job.status()["sentence"]
    for asked in (
        lambda: ouvroir.generate(job.path, "roman", count=1),
        lambda: ouvroir.load(job.path).write("a", label="roman"),
    ):
        with pytest.raises(UsageError, match=r"knows no class `roman`\. Leave --label out"):
            asked()


@pytest.mark.parametrize("given", ["Dan \n", "Dan \r\n", "\ufeffDan "])
def test_a_dash_is_the_prompt_from_standard_input(job, given):
    arguments = ["generate", str(job.path), "--most", "12", "--seed", "2", "--quiet"]
    typed = CliRunner().invoke(app, [*arguments, "--prompt", "Dan "], catch_exceptions=False)
    piped = CliRunner().invoke(app, [*arguments, "--prompt", "-"], input=given, catch_exceptions=False)
    assert piped.stdout == typed.stdout
    both = [*arguments, "--prompt", "Eve", "--prompt", "-", "--json"]
    told = json.loads(CliRunner().invoke(app, both, input=given, catch_exceptions=False).stdout)
    assert [one["prompt"] for one in told["texts"]] == ["Eve", "Dan "]


@pytest.mark.parametrize(
    ("given", "prompts", "said"),
    [
        (b"", ["-"], "Standard input is empty. Give --prompt - a text"),
        (b"\n", ["-"], "Standard input is empty"),
        (b"caf\xe9 ", ["-"], "no text in UTF-8: byte 4 fits no letter"),
        (b"Dan", ["-", "-"], "which can be read only once"),
    ],
)
def test_what_is_no_prompt_on_standard_input_is_refused(job, given, prompts, said):
    arguments = [word for prompt in prompts for word in ("--prompt", prompt)]
    result = CliRunner().invoke(app, ["generate", str(job.path), *arguments, "--quiet"], input=given)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_command_goes_on_with_prompts(job):
    arguments = ["generate", str(job.path), "--prompt", "Dan ", "--most", "12", "--seed", "2", "--quiet"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("Dan ")
    told = json.loads(CliRunner().invoke(app, [*arguments, "--prompt", "Eve", "--json"], catch_exceptions=False).stdout)
    assert [one["prompt"] for one in told["texts"]] == ["Dan ", "Eve"]
    assert "Dan " + told["texts"][0]["text"] == result.stdout.removesuffix("\n")
    by_python = ouvroir.load(job.path).write("Dan ", how=Sampling(most=12), seed=2)
    assert by_python == told["texts"][0]["text"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "Dan ", "--top-p", "0"], "Top p is above 0"),
        (["--prompt", "Dan ", "--count", "3"], "--count is for samples"),
        (["--top-k", "3"], "--top-k says how to go on with a text"),
        (["--stop", "."], "--stop says how to go on with a text"),
        (["--prompt", "Dan ", "--stop", ""], "A string to stop at is empty"),
        (["--prompt", "a\udce9"], "at place 2 that is no letter"),
    ],
)
def test_wrong_ways_to_go_on_are_refused(job, arguments, said):
    result = CliRunner().invoke(app, ["generate", str(job.path), *arguments, "--quiet"])
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_prompt_is_read_as_texts_are_that_are_learned_from(job):
    model = ouvroir.load(job.path)
    how = Sampling(most=20)
    assert model.write("Zoe\u0301\r\n", how=how) == model.write("Zo\u00e9\n", how=how)


def test_the_command_says_that_a_prompt_is_longer_than_the_context(job):
    arguments = ["generate", str(job.path / "transformer"), "--prompt", lines(7, 40), "--most", "3"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "looks back over 32 pieces" in result.stderr


def test_a_prompt_that_is_longer_than_the_context_is_told(job, capsys):
    model = ouvroir.load(job.path / "transformer")
    prompt = lines(7, 40)
    (said,) = model.task.remarks(model.processor, model.recipe, [prompt])
    assert "looks back over 32 pieces" in said
    assert len(model.write(prompt, how=Sampling(most=5))) > 0
    lstm = ouvroir.load(job.path / "lstm")
    assert lstm.task.remarks(lstm.processor, lstm.recipe, [prompt]) == []
    assert "ends in a blank" in lstm.task.remarks(lstm.processor, lstm.recipe, ["Ann "])[0]


def test_models_are_compared_on_other_texts(job, place):
    (place / "other").mkdir(exist_ok=True)
    (place / "other" / "more.txt").write_text(lines(99, 2000), encoding="utf-8")
    found = ouvroir.compare(job.path / "lstm", job.path / "transformer", place / "other", runs=place / "runs")
    assert found.comparison.metric == "nats_per_character"
    assert found.of[0].n_parameters > 10_000
    assert found.of[1].seconds > 0
    assert found.a.metrics["nats_per_character"].value > 0
    assert found.sizes.endswith("times as many parameters.")
    arguments = [str(job.path / "lstm"), str(job.path / "transformer"), str(place / "other")]
    shown = CliRunner().invoke(app, ["compare", *arguments, "--quiet"], catch_exceptions=False).stdout
    assert "longest copied passage" in shown
    figures, kept = shown.split(
        "\nHow each writes. This was measured at the end of its training, beside real texts of that"
    )
    assert "Of nats per character and bits per byte, lower is better." in figures
    assert not re.search("passage|repeated|writes", figures), "which are of the texts that each was trained with"
    assert re.search(
        r"A writes +its real texts +B writes +its real texts *\nruns of six pieces repeated( +[\d.]+\s%){4}", kept
    )
    told = json.loads(CliRunner().invoke(app, ["compare", *arguments, "--json"], catch_exceptions=False).stdout)
    for name, one in (("lstm", "a"), ("transformer", "b")):
        habits, said = Run(job.path / name).read_json("habits.json"), told[one]["writing"]
        assert said["copied"] == habits["copied"]
        assert said["repetition_real"] == habits["repetition_real"]
        assert said["sample"] == Run(job.path / name).read_json("moments.json")[-2]["text"]
        assert f"{'AB'[one == 'b']} writes, from nothing:" in shown
    assert told["sizes"] in " ".join(shown.split())
    assert told["in_blocks"]
    assert f"{told['n']} blocks" in shown


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((100, 100), ""),
        ((100, 110), "B has 1.10 times as many parameters."),
        ((160, 100), "Not at equal parameters: A has 1.60 times as many parameters."),
    ],
)
def test_which_model_is_larger_is_said(sizes, said):
    of = tuple(SimpleNamespace(n_parameters=size) for size in sizes)
    assert ModelComparison(None, None, None, of, (), ()).sizes == said


def test_one_block_of_text_decides_nothing(job, place):
    (place / "short").mkdir(exist_ok=True)
    (place / "short" / "one.txt").write_text(lines(98, 20), encoding="utf-8")
    models = [str(job.path / name) for name in ("lstm", "transformer")]
    told = json.loads(
        CliRunner().invoke(app, ["compare", *models, str(place / "short"), "--json"], catch_exceptions=False).stdout
    )
    assert "No difference can be shown on 1 item:" in told["sentence"]
    assert told["in_blocks"] is False, "the only file is short, and so whole"
    assert told["difference"]["low"] is None
    alone = CliRunner().invoke(app, ["evaluate", models[0], str(place / "short"), "--json"], catch_exceptions=False)
    assert json.loads(alone.stdout)["metrics"]["nats_per_character"]["high"] is None


def test_intervals_of_the_run_its_report_and_an_evaluation_agree(job, place):
    (system,) = [one for one in job.read_json("report.json")["systems"] if one["name"] == "lstm"]
    interval = system["metrics"]["nats_per_character"]
    assert Run(job.path / "lstm").read_json("evaluation.json")["test"]["nats_per_character"] == interval
    found = ouvroir.evaluate(job.path / "lstm", place / "books", runs=place / "runs")
    assert found.judgement.metrics["nats_per_character"].as_dict() == pytest.approx(
        {end: interval[end] for end in ("value", "low", "high")}
    )
    assert job.read_json("report.json")["n_test_units"] < len(found.ids), "neighbouring blocks count as one"


def test_a_model_that_writes_nothing_says_so(job):
    model = replace(ouvroir.load(job.path), task=find_task("text-classification"))
    with pytest.raises(UsageError, match="go on from a prompt"):
        model.write("x")


def test_one_is_tuned_on_other_texts(job, place):
    (place / "few").mkdir(exist_ok=True)
    (place / "few" / "poem.txt").write_text(lines(5, 400), encoding="utf-8")
    said = []
    run = ouvroir.finetune(
        job.path / "transformer",
        place / "few",
        settings={**QUICK, "loop.steps": 12, "loop.evaluate_every": 4},
        runs=place / "runs",
        progress=SimpleNamespace(say=said.append, bar=QUIET.bar),
    )
    assert run.recipe().options.network == "transformer"
    assert run.state == "finished"
    (note,) = [one for one in run.read_json("report.json")["ledger"]["notes"] if one["code"] == "other_data"]
    assert "forget some of what it learned before: `ouvroir evaluate` on the earlier data, `" in note["text"]
    assert "/books`, shows" in note["text"]
    assert "fait oublier au modèle" in note["fr"]
    assert not [one for one in said if "class" in one.lower()]
    assert note["text"] in said
    _check_that_base_and_tuned_are_compared(
        run, ouvroir.evaluate(job.path / "transformer", place / "few", runs=place / "runs")
    )
    assert len(ouvroir.evaluate(run.path, place / "books", runs=place / "runs").ids) > 0, "the test of the earlier data"


def test_another_network_cannot_start_from_a_model(job, place):
    before = sorted((place / "runs").iterdir())
    with pytest.raises(
        UsageError, match=r"is an LSTM, and a Transformer was asked for: what it learned cannot be carried over"
    ):
        ouvroir.finetune(
            job.path / "lstm",
            place / "books",
            settings={**QUICK, "options.network": "transformer"},
            runs=place / "runs",
        )
    assert sorted((place / "runs").iterdir()) == before


def test_samples_are_those_of_the_weights_that_are_kept(job, place, tmp_path):
    """The best step lies between the moments at which samples are kept."""
    run = ouvroir.finetune(
        job.path / "lstm",
        place / "books",
        settings={**QUICK, "loop.steps": 10, "loop.evaluate_every": 3, "optim.lr": 1e-9},
        runs=place / "runs",
    )
    kept = step_of(run.checkpoint("best"))
    moments = run.read_json("moments.json")
    assert [one["step"] for one in moments] == sorted(one["step"] for one in moments)
    (sample,) = [one for one in moments if one["step"] == kept and one["temperature"] == SHOWN_TEMPERATURE]
    assert sample["text"] == ouvroir.load(run.path).write(
        "", how=Sampling(temperature=SHOWN_TEMPERATURE, most=MOMENT_PIECES)
    )
    assert written_by(run)["sample"] == sample["text"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert page.count("these weights are kept") == (len({one["step"] for one in moments}) > 1)
    card = (run.bundle / "README.md").read_text(encoding="utf-8")
    assert (f"the model is kept as it was after {kept}, where it did best" in card) == (kept != 10)


def _check_that_base_and_tuned_are_compared(run, of_base):
    report = run.read_json("report.json")
    base, tuned = (one for one in report["systems"] if one["role"] in ("base", "tuned"))
    assert (base["name"], report["kept"]) == ("start", tuned["name"])
    found = dict(zip(of_base.ids, of_base.judgement.answers.loss, strict=True))
    rows = [manifest_of(run).rows[place] for place in manifest_of(run).judged("test")]
    assert load_answers(run.path / "answers" / "start.safetensors").loss == pytest.approx(
        [found[row.id] for row in rows]
    )
    (pair,) = [one for one in report["pairs"] if one["kind"] == "tuning"]
    assert pair["difference"]["low"] is not None or len(rows) == 1
    lines = " ".join(report["verdict"]["lines"]["en"])
    assert re.search("Tuning (helped|did harm)|Between the base and the tuned model", lines)
    assert "This run keeps the tuned model" in lines
    assert "decided on validation data" not in lines
    kept = int(run.checkpoint("best").name.removeprefix("step_"))
    assert re.search(rf"kept as it was after (its last step, 12|step {kept} of 12), where it did best", lines)


def test_learning_from_the_same_texts_again_forgets_nothing(job):
    manifest, start = manifest_of(job), str(job.path / "lstm")
    _, notes = propose_recipe(
        find_task("text-generation"), manifest, {}, preset="tiny", init_from=start, progress=QUIET
    )
    assert notes == []


def test_what_to_type_after_evaluate_is_for_a_model_that_writes(job, place):
    shown = CliRunner().invoke(
        app, ["evaluate", str(job.path), str(place / "books"), "--quiet"], catch_exceptions=False
    )
    assert f"ouvroir generate {job.path} --prompt TEXT" in shown.stdout
    assert "ouvroir predict" not in shown.stdout
    assert "Of nats per character and bits per byte, lower is better." in shown.stdout


def test_measures_have_names_for_people_and_no_label_is_named_where_there_is_none(job):
    kept, why = choose(job.models)
    assert why == f"The {kept.name} model has the better nats per character on validation data."
    card = (job.bundle / "README.md").read_text(encoding="utf-8")
    assert "| nats per character | " in card
    assert "nats_per_character" not in card
    report = job.read_json("report.json")
    for language in LANGUAGES:
        page = render(report, language)
        assert not re.search("no label|sans étiquette", page)
        assert FRENCH("total") in page
        assert len(re.findall('<ul class="gallery', page)) == 1


def test_other_tokenizers_tell_the_same_text(place):
    for kind in ("characters", "bytes"):
        settings = {**QUICK, "options.tokenizer": kind, "loop.steps": 5}
        run = ouvroir.train(place / "books", preset="tiny", settings=settings, runs=place / "runs")
        found = run.read_json("evaluation.json")["test"]
        assert found["bits_per_byte"]["value"] < found["nats_per_character"]["value"] / np.log(
            2
        )  # é and 🙂 have more bytes


# --- the parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [1, 7, 8, 64])
@pytest.mark.parametrize("lengths", [[2], [9, 2, 30], [65, 66, 64, 200]])
def test_windows_tell_each_piece_once(lengths, context):
    found = windows(np.array(lengths), context, is_told_once=True)
    told = [np.zeros(n, dtype=int) for n in lengths]
    for row, start, length, lead in zip(found.row, found.start, found.length, found.lead, strict=True):
        assert 2 <= length <= context + 1
        assert start + length <= lengths[row]
        told[row][start + 1 + lead : start + length] += 1
    for one in told:
        assert one[0] == 0
        assert (one[1:] == 1).all()
    training = windows(np.array(lengths), context, is_told_once=False)
    assert training.lead is None
    assert np.array_equal(training.start, found.start)


def test_a_block_ends_only_where_its_file_does(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    processor = CorpusProcessor(tokenizer=Tokenizer("bytes"), context=8, longest=8)

    def numbers(start, length):
        return processor.encode(Source(str(tmp_path), block_locator("a.txt", start, length)), Limits())[
            "pieces"
        ].tolist()

    assert numbers(0, 4) == [BEGIN, *(4 + byte for byte in b"one\n")]
    assert numbers(8, 6)[-1] == END
    assert numbers(8, 6)[0] == BEGIN


def test_it_comes_back(tmp_path):
    processor = CorpusProcessor(labels=("a",), tokenizer=Tokenizer("characters", b"abc"), context=8, longest=9)
    processor.save(tmp_path)
    assert CorpusProcessor.load(tmp_path) == processor


def test_letters_are_said_whole_and_a_stop_waits():
    spoken = Spoken(Tokenizer("bytes"), stops=("END",))
    said = [spoken.add(4 + byte) for byte in "aéEN".encode()]
    assert said == ["a", "", "é", "", ""]
    assert spoken.add(4 + ord("x")) == "ENx"
    assert [spoken.add(4 + byte) for byte in b"END"] == ["", "", ""]
    assert spoken.has_stopped
    assert spoken.end() == ""
    half = Spoken(Tokenizer("bytes"))
    assert half.add(4 + 0xC3) == ""
    assert half.end() == "\ufffd"


def test_the_longest_passage_is_found():
    known = [np.arange(100), np.array([7, 7, 8, 9, 10, 7])]
    assert Passages(known).longest(np.array([1, 1, 7, 8, 9, 10, 11, 12, 3])) == (2, 6)
    assert Passages(known).longest(np.array([500, 501])) == (0, 0)
    assert Passages([]).longest(np.array([1])) == (0, 0)


def test_no_block_is_empty_however_long_lines_are(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    (tmp_path / "long").mkdir()
    for number, length in enumerate((30, 1500, 2040, 2300, 9000)):
        draw = random.Random(number)
        text = "\n".join(f"{number} " + "".join(draw.choices("abcdef gh", k=length)) for _ in range(60_000 // length))
        (tmp_path / "long" / f"{number}.txt").write_text(text)
    manifest = ouvroir.check(tmp_path / "long")
    assert not manifest.refused
    assert len(manifest.rows) > 60


# --- bad input --------------------------------------------------------------------------------------------------------


def refused(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.txt").write_bytes(content)
    return folder


def test_an_empty_file_and_a_binary_one_are_refused_and_the_rest_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    binary = random.Random(0).randbytes(9000)
    folder = refused(tmp_path / "mixed", good=lines(0, 900).encode(), empty=b"", binary=binary)
    manifest = ouvroir.check(folder)
    codes = [(one.id, one.code) for one in manifest.refused]
    assert codes == [("binary.txt", "not_text"), ("empty.txt", "empty")], "a file of several blocks is one refusal"
    assert {row.id.split("@")[0] for row in manifest.rows} == {"good.txt"}
    (note,) = [one.text for one in manifest.notes if one.code == "in_blocks"]
    assert f"Files: 1; blocks: {len(manifest.rows)}, each" in note


def test_an_encoding_that_is_not_utf8_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    french = "Le café est fermé, dit-elle à Noël.\n"
    wide = "".join(f"{french.strip()} {number}\n" for number in range(200))
    folder = refused(tmp_path / "old", latin=(french * 40).encode("latin-1"), wide=wide.encode("utf-16"))
    manifest = ouvroir.check(folder)
    told = " ".join(note.text for note in manifest.notes)
    assert "latin.txt" in told
    assert "wide.txt" in told
    texts = [row for row in manifest.rows if row.id.startswith("wide")]
    assert len(texts) > 5


@pytest.mark.parametrize("content", [b"x", b"x\n" * 3])
def test_a_corpus_of_hardly_anything_is_said(tmp_path, monkeypatch, content):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = refused(tmp_path / "tiny", one=content)
    with pytest.raises(DataError, match="Add texts"):
        ouvroir.train(folder, task="text-generation", settings={**QUICK, "loop.steps": 2}, runs=tmp_path / "runs")


def test_a_vocabulary_that_is_too_large_and_a_window_that_is_too_long_are_taken_as_far_as_they_go(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = refused(tmp_path / "few", **{f"f{number}": lines(number, 20).encode() for number in range(12)})
    settings = {**QUICK, "loop.steps": 3, "options.n_pieces": 60_000, "options.context": 4000}
    run = ouvroir.train(folder, task="text-generation", preset="tiny", settings=settings, runs=tmp_path / "runs")
    made = ouvroir.load(run.path).processor.tokenizer.n
    assert made < 2000
    report = run.read_json("report.json")
    (note,) = [one for one in report["ledger"]["notes"] if one["code"] == "settled_otherwise"]
    assert note["text"].startswith(f"`options.n_pieces` is {made}, and not 60000 as was asked for")
    assert note["fr"].replace("\u202f", " ").startswith(f"`options.n_pieces` vaut {made}, et non 60000 comme demandé")
    assert {name: value for name, value, *_ in report["settings"]}["options.n_pieces"] == str(made)
    assert np.isfinite(run.read_json("evaluation.json")["test"]["nats_per_character"]["value"])


def test_runs_and_models_among_the_data_are_no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "books" / "home"))
    folder = refused(tmp_path / "books", one="".join(f"The sea is quiet, line {n}.\n" for n in range(400)).encode())
    before = ouvroir.check(folder)
    run = ouvroir.train(folder, task="text-generation", settings={**QUICK, "loop.steps": 2}, runs=folder / "runs")
    shutil.copytree(run.path / "final_model", folder / "model")
    shutil.copytree(run.checkpoint("best"), folder / "step")
    ouvroir.export(run.path, "pth", folder / "carried")
    manifest = ouvroir.check(folder)
    assert manifest.rows == before.rows
    assert {refusal.id: refusal.code for refusal in manifest.refused} == dict.fromkeys(
        ("carried/pth", "home", "model", "step", f"runs/{run.path.name}"), "own_folder"
    )
    assert all(in_french(refusal.reason) for refusal in manifest.refused)
