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
from PIL import Image
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.errors import DataError, MissingExtra, UsageError
from ouvroir.files import without_password
from ouvroir.media.video import stream as streams
from ouvroir.media.video.classification import VideoClassification
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.media.video.recipes import Options
from ouvroir.predictor import Predictor
from ouvroir.recipe import Model, Recipe
from ouvroir.streaming import Rolling, as_json_line, rolling

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


def shown(address):
    """The moments that hold a clip."""
    return (moment for moment in TASK.follow(address, PROCESSOR, every_s=0.0) if moment.example is not None)


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
    assert time.monotonic() - begin > 1.7
    times = [one.at_s for one in found]
    assert times == sorted(times)
    assert len(times) >= 4
    assert np.diff(times[:-1]).min() > 0.25
    assert all(one.prediction.label in ("a", "b") for one in found)
    assert all(one.latency_s >= 0 for one in found)


def test_what_is_answered_for_is_the_newest_clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(2.0), FPS, quality=4))
    times = []
    for moment in shown(str(path)):
        times.append(moment.at_s)
        levels = moment.example["frames"][0].mean(axis=(1, 2, 3))
        assert moment.example["frames"].shape == (1, 4, 16, 16, 3)
        assert levels[-1] == pytest.approx(10 * moment.at_s, abs=3)
    assert 3 <= len(times) == len(set(times))  # no clip is given twice


def test_a_slow_model_misses_frames_and_does_not_lag(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(4.0), FPS))
    times, n_dropped = [], 0
    for moment in shown(str(path)):
        times.append(moment.at_s)
        n_dropped += moment.n_dropped
        time.sleep(0.9)
    assert len(times) <= 6  # and not one for each of the 37 clips
    assert times[-1] > 3.5
    assert n_dropped > 5


def test_a_slow_decoder_leaves_out_and_mixes_no_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_VERY_LATE_S", 0.6)
    monkeypatch.setattr(streams, "_LATE_S", 0.2)
    square = streams.square

    def slow(*args):
        time.sleep(0.25)
        return square(*args)

    monkeypatch.setattr(streams, "square", slow)
    path = tmp_path / "clip.ts"
    path.write_bytes(as_ts(levels_clip(6.0)))
    times, n_dropped, begin = [], 0, time.monotonic()
    for moment in shown(str(path)):
        times.append(moment.at_s)
        n_dropped += moment.n_dropped
        levels = moment.example["frames"][0].mean(axis=(1, 2, 3))
        assert np.diff(levels).max() < 3.5  # from one frame to the next, and not over a gap
    assert times == sorted(times)
    assert len(times) > 2
    assert n_dropped > 10
    assert time.monotonic() - begin < 0.25 * 60  # what decoding all would take


def test_a_camera_that_is_slower_than_the_model_looks_is_shown_longer(tmp_path):
    frames = 4 * levels_clip(3.0)[::5]  # 4 a second, each 10 levels brighter
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(frames, 4, quality=4))
    found = list(shown(str(path)))
    assert found
    assert not any(moment.n_dropped for moment in found)
    for moment in found:
        levels = moment.example["frames"][0].mean(axis=(1, 2, 3))
        assert levels[-1] - levels[0] < 25  # 0.3 s, and not 0.75


def test_a_machine_that_stood_still_is_on_time_again_without_key_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_VERY_LATE_S", 0.6)
    square, n = streams.square, []

    def once_slow(*args):
        n.append(1)
        time.sleep(1.5 if len(n) == 8 else 0)
        return square(*args)

    monkeypatch.setattr(streams, "square", once_slow)
    path = tmp_path / "clip.mp4"
    path.write_bytes(as_mp4(levels_clip(5.0), FPS))  # one key frame, the first
    found = list(shown(str(path)))
    assert found[-1].at_s > 4
    assert sum(moment.n_dropped for moment in found) > 5


def test_a_damaged_picture_ends_no_camera():
    pieces = list(as_pictures(levels_clip(1.0), 20))
    pause, whole = pieces[8]
    pieces[8] = (
        pause,
        whole.split(b"\r\n\r\n")[0] + b"\r\n\r\n" + bytes(len(whole.split(b"\r\n\r\n", 1)[1]) - 2) + b"\r\n",
    )
    with Served(*pieces, kind="multipart/x-mixed-replace; boundary=part") as address:
        times = [moment.at_s for moment in shown(address)]
    assert times[-1] > 0.6  # and the damaged one came at 0.4


def as_pictures(frames, fps):
    """What network cameras send: JPEG files in parts, without a time."""
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG")
        picture = file.getvalue()
        head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        yield 1 / fps, head.encode() + picture + b"\r\n"


def test_a_camera_without_times_is_shown_as_it_comes():
    pieces = list(as_pictures(levels_clip(2.0), 10))  # at a tenth of a second each, and FFmpeg takes it for a 25th
    with Served(*pieces, kind="multipart/x-mixed-replace; boundary=part") as address:
        times = [moment.at_s for moment in shown(address)]
    assert times[-1] - times[0] > 2.5


def test_a_clock_that_is_set_anew_begins_another_clip(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(streams.time, "monotonic", lambda: now[0])
    kinds = {"is_local": False, "is_paced": True, "is_stamped": True}
    pace = streams.Pace(0.0, 10, is_endless=True, **kinds)
    assert pace.place(5000.0) == (0.0, False)
    assert pace.place(5000.1) == pytest.approx((0.1, False))
    now[0] += 0.2
    for stamp in (3.0, 90_000.0, 2.0):  # hours on or back are not waited for
        at, is_elsewhere = pace.place(stamp)
        assert is_elsewhere
        assert at <= now[0] - 100 + 0.3
        assert pace.ahead(at) == 0
    begin = at
    assert pace.place(2.1) == pytest.approx((begin + 0.1, False))
    assert pace.ahead(begin + 0.1) == pytest.approx(0.1)
    file = streams.Pace(0.0, 10, is_endless=False, **kinds)
    file.place(0.0)
    assert file.place(60.0) == (60.0, False)  # a file whose pictures stand for a minute


def test_who_waits_for_the_network_is_not_late(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(streams.time, "monotonic", lambda: now[0])
    pace = streams.Pace(0.0, 25, is_local=False, is_paced=True, is_stamped=True, is_endless=True)
    pace.place(0.0)
    now[0] = 10.0
    pace.worked(0.9)
    assert pace.late(1.0) == pytest.approx(0.9)
    pace.waited(0.1)
    assert pace.late(1.0) == 0
    pace.worked(100.0)
    assert pace.late(9.5) == pytest.approx(0.5)  # by its clock


def test_passwords_are_not_shown(predictor):
    with Served((0, b"not a stream"), kind="video/mp2t") as address:
        secret = address.replace("://", "://ann:p@sesame@")
        with pytest.raises(DataError) as caught:
            list(rolling(predictor, secret.replace("http", "rtsp")))
    assert "sesame" not in str(caught.value)
    assert "…@127.0.0.1" in str(caught.value)
    line = as_json_line("rtsp://ann:sesame@door/live", Rolling(1.0, None, 0.0, 0, "It ended."))
    assert json.loads(line)["input"] == "rtsp://…@door/live"
    assert without_password("http://door/cgi?user=ann&pwd=sesame#1") == "http://door/cgi?…"
    assert without_password("opening `http://door/cgi?pwd=sesame` failed") == "opening `http://door/cgi?…` failed"
    assert without_password("rtsp://ann:open/sesame@door/live") == "rtsp://…@door/live"
    assert without_password("http://door:8080/@ann/live") == "http://door:8080/@ann/live"
    assert without_password("what.mp4?") == "what.mp4?"


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
    assert sum(one.prediction is not None for one in found) > 3
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
