"""From a folder of videos to answers and an exported file, through the public API and the command line."""

import hashlib
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.media.video.augment import augment
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.recipes import Options
from ouvroir.media.video.samples import FPS, clip_of
from ouvroir.rng import Rng

QUICK = {
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 16,
    "loop.batch_size": 16,
    "loop.steps": 300,
    "options.storage_px": 32,
    "options.fps": 4,
    "options.n_frames": 8,
    "data.group_pattern": "^(scene[0-9]+)_",
}
SOME = ("drifts_left", "drifts_right")


def score_of(name, label, score):
    return score if label == name else 1 - score


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        for name in SOME:
            (place / "moves" / name).mkdir(parents=True)
            for scene in range(12):
                for take in range(3):
                    content = as_mp4(clip_of(name, scene, take), FPS)
                    (place / "moves" / name / f"scene{scene:02d}_{take}.mp4").write_bytes(content)
        before = hashes(place / "moves")
        yield place
        assert hashes(place / "moves") == before


@pytest.fixture(scope="module")
def run(place):
    return ouvroir.train(place / "moves", preset="tiny", settings=QUICK, runs=place / "runs")


def test_directions_are_told_apart_in_scenes_not_seen(run, place):
    assert run.recipe().task == "video-classification"
    new = [as_mp4(clip_of(name, 50 + number, 0), FPS) for number in range(6) for name in SOME]
    found = ouvroir.predict(run.path, new)
    assert np.mean([one.label == name for one, name in zip(found, SOME * 6, strict=True)]) >= 0.75
    assert "image/webp" in (run.path / "report.html").read_text(encoding="utf-8")


def test_a_long_video_gets_timed_answers(run, place):
    path = place / "long.mp4"
    parts = [clip_of(name, 7, take) for take in range(2) for name in SOME]
    path.write_bytes(as_mp4(np.concatenate(parts), FPS))
    result = CliRunner().invoke(app, ["predict", str(run.path), str(path), "--json"], catch_exceptions=False)
    (told,) = json.loads(result.stdout)["predictions"]
    assert [one["begin_s"] for one in told["times"]] == [0, 2, 4, 6]
    alone = ouvroir.predict(run.path, [as_mp4(part, FPS) for part in parts])
    for timed, one in zip(told["times"], alone, strict=True):  # each stretch answers as if it were a video of its own
        assert abs(score_of(SOME[0], timed["label"], timed["score"]) - one.scores[SOME[0]]) < 0.2


def test_what_is_no_video_is_told(run, place):
    (place / "text.mp4").write_text("no video at all")
    result = CliRunner().invoke(app, ["predict", str(run.path), str(place / "text.mp4"), "--json"])
    (told,) = json.loads(result.stdout)["predictions"]
    assert "holds text" in told["error"]


def test_the_exported_file_answers_as_the_model(run):
    pytest.importorskip("onnxruntime")
    assert ouvroir.export(run.path, "onnx").n_items >= 4


def test_changes_keep_what_does_not_change_and_move_the_rest():
    frames = torch.randint(0, 255, (3, 6, 8, 8, 3), dtype=torch.uint8)
    rng = Rng(0, 0, torch.arange(3))
    kept = augment(frames, Options(shift=0, zoom=0, light=0, speed=0), rng)
    assert torch.equal(kept, frames.float())
    moved = augment(frames, Options(), rng)
    assert moved.shape == frames.shape
    assert not torch.equal(moved, frames.float())
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 255
    one = augment(frames[1:2], Options(), Rng(0, 0, torch.arange(1, 2)))
    assert torch.allclose(one[0], moved[1], atol=1e-3)


def test_mirrored_videos_drift_the_other_way():
    ramp = torch.arange(8, dtype=torch.uint8).view(1, 1, 1, 8, 1).expand(64, 2, 8, 8, 3)
    found = augment(ramp, Options(shift=0, zoom=0, light=0, speed=0, flip=True), Rng(0, 0, torch.arange(64)))
    falls = (found[:, 0, 0, -1, 0] < found[:, 0, 0, 0, 0]).float().mean()
    assert 0.2 < float(falls) < 0.8
