"""From a folder of sounds to answers, samples and an exported file, through the public API and the command line."""

import hashlib
import json
import os
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.media.audio.encode import as_wav
from ouvroir.media.audio.samples import RATE, VOICES, WORDS, speak
from ouvroir.source import source_of
from ouvroir.task import Limits

QUICK = {
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 16,
    "loop.batch_size": 16,
}
SOME = ("two", "six", "nine")


def word(name, number, voice="ben"):
    pitch, throat = VOICES[voice]
    return speak(name, np.random.default_rng(number), pitch=pitch, throat=throat)


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("sounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        for name in SOME:
            (place / "words" / name).mkdir(parents=True)
            for voice in VOICES:
                for take in range(4):
                    content = as_wav(word(name, take, voice), RATE)
                    (place / "words" / name / f"{voice}_{take}.wav").write_bytes(content)
        before = hashes(place / "words")
        yield place
        assert hashes(place / "words") == before


@pytest.fixture(scope="module")
def run(place):
    settings = {**QUICK, "loop.steps": 80, "data.group_pattern": "^([a-z]+)_"}
    return ouvroir.train(place / "words", preset="tiny", settings=settings, runs=place / "runs")


def test_a_split_at_random_stands_beside_the_voices(run):
    found = run.read_json("report.json")["random_split"]
    assert found["apart"]["n"] == found["mixed"]["n"] > 0
    assert found["mixed"]["value"] > 0.5  # of three words


def test_words_are_told_apart_and_voices_kept_apart(run, place):
    assert run.recipe().task == "audio-classification"
    manifest = ouvroir.check(place / "words", settings={"data.group_pattern": "^([a-z]+)_"})
    voices = {split: {row.group for row in manifest.rows if row.split == split} for split in ("train", "test")}
    assert not voices["train"] & voices["test"]
    found = ouvroir.predict(run.path, [(word(name, 99), RATE) for name in SOME])
    assert sum(one.label == name for one, name in zip(found, SOME, strict=True)) >= 2
    assert "audio" in (run.path / "report.html").read_text(encoding="utf-8")


def test_a_long_recording_gets_timed_answers(run, place):
    path = place / "long.wav"
    path.write_bytes(as_wav(np.concatenate([word(name, 50 + number) for number, name in enumerate(SOME * 3)]), RATE))
    result = CliRunner().invoke(app, ["predict", str(run.path), str(path), "--json"], catch_exceptions=False)
    (told,) = json.loads(result.stdout)["predictions"]
    assert len(told["times"]) > 3
    assert told["times"][0]["begin_s"] == 0
    assert {one["label"] for one in told["times"]} <= {*SOME, None}


def test_an_answer_is_for_all_of_a_recording_and_learning_from_its_first_minute(run, place):
    (place / "long.wav").write_bytes(as_wav(np.tile(word("one", 0, next(iter(VOICES))), 500)[: 150 * RATE], RATE))
    answer = ouvroir.predict(run.path, [place / "long.wav"])[0]
    assert answer.times[-1].end_s == pytest.approx(150, abs=0.1)
    model = ouvroir.load(run.path)
    learned = model.processor.encode(source_of(place / "long.wav"), Limits())
    assert learned["begin"][-1] + model.processor.window <= 60 * RATE


def test_a_recording_may_begin_with_a_silent_minute(run, place):
    model = ouvroir.load(run.path)
    (place / "late.wav").write_bytes(as_wav(np.concatenate([np.zeros(70 * RATE, np.int16), word("one", 0)]), RATE))
    assert not model.processor.encode(source_of(place / "late.wav"), Limits())[
        "wave"
    ].any()  # which is no reason to refuse it
    assert model.predict([place / "late.wav"])[0].error is None


def test_what_is_no_sound_is_told(run, place):
    (place / "text.wav").write_text("no sound at all")
    (place / "empty.wav").write_bytes(b"")
    found = ouvroir.predict(run.path, [place / "text.wav", place / "empty.wav"])
    (place / "silent.wav").write_bytes(as_wav(np.zeros(RATE, np.int16), RATE))
    (silent,) = ouvroir.predict(run.path, [place / "silent.wav"])
    assert "is silent" in silent.error
    assert "holds text" in found[0].error
    assert "0 bytes" in found[1].error


def test_the_exported_file_answers_as_the_model(run):
    pytest.importorskip("onnxruntime")
    assert ouvroir.export(run.path, "onnx").n_items >= 9


def test_only_the_head_learns_from_cached_features(run, place):
    tuned = ouvroir.finetune(
        run.path, place / "words", scope="head", settings={**QUICK, "loop.steps": 10}, runs=place / "runs"
    )
    assert tuned.state == "finished"


def test_samples_are_sounds_that_say_what_they_are(place):
    av = pytest.importorskip("av")
    settings = {**QUICK, "loop.steps": 8, "options.sample_steps": 3, "options.phase_steps": 4}
    run = ouvroir.train(place / "words", task="audio-generation", preset="tiny", settings=settings, runs=place / "runs")
    made = ouvroir.generate(run.path, "six", count=3, seed=5)
    assert [path.suffix for path in made.files] == [".wav"] * 3
    with av.open(str(made.files[0])) as container:
        assert "synthetic: true" in container.metadata["comment"]
        assert container.streams.audio[0].rate == RATE
    contents = [path.read_bytes() for path in made.files]
    assert [path.read_bytes() for path in ouvroir.generate(run.path, "six", count=3, seed=5).files] == contents


def test_the_words_of_the_sample_differ_and_come_back():
    assert np.array_equal(word("one", 3), word("one", 3))
    assert not np.array_equal(word("one", 3), word("one", 4))
    assert all(2_000 < len(word(name, 0)) < 24_000 for name in WORDS)


def test_real_digits_of_speakers():
    data = os.environ.get("OUVROIR_TEST_DATA")
    if not data:
        pytest.skip("OUVROIR_TEST_DATA does not name the shared data sets")
    settings = {"data.label_pattern": r"^(\d)_", "data.group_pattern": r"^\d_([a-z]+)_"}
    manifest = ouvroir.check(f"{data}/fsdd/recordings.zip", settings=settings)
    assert manifest.task == "audio-classification"
    assert len(manifest.rows) + len(manifest.refused) == manifest.found >= 3000
    assert {row.label for row in manifest.rows} == set("0123456789")
    speakers = {split: {row.group for row in manifest.rows if row.split == split} for split in ("train", "test")}
    assert not speakers["train"] & speakers["test"]


def test_a_missing_library_is_told_before_any_file_is_opened(place, monkeypatch):
    from ouvroir.errors import MissingExtra
    from ouvroir.media.audio import decode

    monkeypatch.setitem(sys.modules, "av", None)
    decode._library.cache_clear()
    try:
        with pytest.raises(MissingExtra, match=r"ouvroir\[audio\]"):
            ouvroir.check(place / "words")
    finally:
        decode._library.cache_clear()
