"""Streams: a file in its own time, an address, one that stands still, one that ends; a slow model that never lags behind."""

import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.errors import DataError, MissingExtra, UsageError
from ouvroir.media.video import stream as streams
from ouvroir.media.video.classification import VideoClassification
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.media.video.recipes import Options
from ouvroir.predictor import Predictor
from ouvroir.recipe import Model, Recipe
from ouvroir.streaming import rolling

TASK = VideoClassification()
PROCESSOR = VideoProcessor(labels=("a", "b"), fps=10, n_frames=4, storage_px=16, most_seconds=60)
FPS = 20


def levels_clip(seconds):
    """Frames that grow brighter by 10 levels a second."""
    levels = (10 * np.arange(round(seconds * FPS)) / FPS).round().astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 32, 32, 3)).copy()


def as_ts(frames):
    """An MPEG transport stream, which can be read from its beginning without knowing its end."""
    file = io.BytesIO()
    with av.open(file, mode="w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "g": "10", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    recipe = Recipe(task=TASK.name, model=Model(preset="tiny"), options=Options(storage_px=16, fps=10, n_frames=4))
    return Predictor(TASK, TASK.build_model(recipe, PROCESSOR).eval(), PROCESSOR, recipe)


class Served:
    """A server on this machine that sends a stream in pieces, each after a pause; once where it does not say how long it is."""

    def __init__(self, *pieces, kind="video/mp2t", has_length=True):
        served = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if served and not has_length:
                    self.send_error(404)
                    return
                served.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                if has_length:
                    self.send_header("Content-Length", str(sum(len(piece) for _, piece in pieces)))
                self.end_headers()
                for pause, piece in pieces:
                    time.sleep(pause)
                    self.wfile.write(piece)
                    self.wfile.flush()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/live.ts"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_file_is_played_in_its_own_time(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(2.0), FPS))
    begin = time.monotonic()
    found = list(rolling(predictor, str(path), every_s=0.3))
    assert 1.7 < time.monotonic() - begin < 6
    times = [one.at_s for one in found]
    assert times == sorted(times)
    assert len(times) >= 4
    assert np.diff(times[:-1]).min() > 0.25
    assert all(one.prediction.label in ("a", "b") for one in found)
    assert all(0 <= one.latency_s < 1.5 for one in found)


def test_what_is_answered_for_is_the_newest_clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(2.0), FPS, quality=4))
    times = []
    for moment in TASK.follow(str(path), PROCESSOR, every_s=0.0):
        times.append(moment.at_s)
        levels = moment.example["frames"][0].mean(axis=(1, 2, 3))
        assert moment.example["frames"].shape == (1, 4, 16, 16, 3)
        assert levels[-1] == pytest.approx(10 * moment.at_s, abs=3)
    assert 3 <= len(times) == len(set(times))  # no clip is given twice


def test_a_slow_model_misses_frames_and_does_not_lag(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(4.0), FPS))
    moments = TASK.follow(str(path), PROCESSOR, every_s=0.0)
    begin = n_dropped = None
    for moment in moments:
        begin = time.monotonic() - moment.at_s if begin is None else begin
        n_dropped = (n_dropped or 0) + moment.n_dropped
        assert time.monotonic() - begin - moment.at_s < 1.5  # never far behind what goes on
        time.sleep(0.9)
    assert n_dropped > 5


def test_an_address_that_stands_still_is_waited_for_and_goes_on(predictor, monkeypatch):
    monkeypatch.setattr(streams, "STALL_S", 0.7)
    content = as_ts(levels_clip(3.0))
    half = len(content) // 2 // 188 * 188
    with Served((0, content[:half]), (3.0, content[half:])) as address:
        found = list(rolling(predictor, address, every_s=0.2))
    said = [one.said for one in found if one.said]
    assert said[0] == "Nothing has come for 0.7 s; waiting for more."
    assert "It goes on." in said
    assert found[-1].at_s > 2.5
    assert sum(one.prediction is not None for one in found) > 6
    assert not found[-1].said


def test_an_address_that_breaks_off_is_tried_again_and_its_end_is_said(predictor):
    with Served((0, as_ts(levels_clip(1.5))), has_length=False) as address:
        found = list(rolling(predictor, address, every_s=0.2))
    assert sum(one.prediction is not None for one in found) >= 4
    assert found[-1].prediction is None
    assert found[-1].said.startswith("It ended: ")


def test_from_the_command_line(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(ouvroir.api, "load", lambda *_, **__: predictor)
    (tmp_path / "clip.mp4").write_bytes(as_mp4(levels_clip(1.2), FPS))
    arguments = ["predict", "model", str(tmp_path / "clip.mp4"), "--stream", "--every", "0.2"]
    result = CliRunner().invoke(app, [*arguments, "--format", "jsonl"], catch_exceptions=False)
    values = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"input", "label", "scores", "at_s", "latency_s", "dropped"} <= set(values[0])
    assert "frames dropped" in result.stderr
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert " ms" in result.stdout.splitlines()[0]
    for wrong in (["--format", "csv"], ["--threshold", "2"]):
        assert CliRunner().invoke(app, [*arguments, *wrong]).exit_code == 2
    assert CliRunner().invoke(app, ["predict", "model", "a", "b", "--stream"]).exit_code == 2
    assert CliRunner().invoke(app, ["predict", "model", "a", "--every", "1"]).exit_code == 2


def test_what_is_no_stream_is_told(predictor, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="There is no file"):
        list(rolling(predictor, str(tmp_path / "absent.mp4")))
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(DataError, match="no stream that can be read"):
        list(rolling(predictor, str(tmp_path / "text.mp4")))
    with pytest.raises(DataError, match="no webcam 47"):
        list(rolling(predictor, "webcam:47"))
    with Served((0, b"<html>a page</html>"), kind="text/html") as address:
        monkeypatch.setitem(__import__("sys").modules, "yt_dlp", None)
        with pytest.raises(MissingExtra, match=r"ouvroir\[stream\]"):
            list(rolling(predictor, address))


def test_a_page_is_looked_through_for_its_video(predictor):
    pytest.importorskip("yt_dlp")
    content = as_ts(levels_clip(1.0))
    with Served((0, content)) as video:
        page = f'<html><head><title>t</title></head><body><video src="{video}" type="video/mp2t"></video></body></html>'
        with Served((0, page.encode()), kind="text/html") as address:
            found = list(rolling(predictor, address.replace("live.ts", "page.html"), every_s=0.2))
    assert sum(one.prediction is not None for one in found) >= 2


def test_a_model_of_something_else_follows_nothing(predictor):
    from ouvroir.media.text.classification import TextClassification

    other = Predictor(TextClassification(), predictor.model, predictor.processor, predictor.recipe)
    with pytest.raises(UsageError, match="cannot follow a stream"):
        list(rolling(other, "webcam"))
