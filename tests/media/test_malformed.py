"""The door of every medium: each bad file has one outcome with a reason, nothing dies, nothing of the user's is changed."""

import hashlib
import io
import os
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import ouvroir
from ouvroir.media.audio.encode import as_wav
from ouvroir.media.text.reading import text_of
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.samples import clip_of
from ouvroir.task import Limits

TASKS = ("image-classification", "text-classification", "audio-classification", "video-classification")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return tmp_path


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).rglob("*") if path.is_file()}


def outcomes(folder, task, **settings):
    """Codes by name, '' where the file is admitted; each file has one."""
    before = hashes(folder)
    manifest = ouvroir.check(folder, task=task, workers=2, settings=settings)
    assert hashes(folder) == before
    ids = [*(row.id for row in manifest.rows), *(refusal.id for refusal in manifest.refused)]
    assert len(set(ids)) == len(ids) == manifest.found == len(before)
    assert all(refusal.reason.endswith((".", "?")) for refusal in manifest.refused)
    found = {row.id.rsplit("/", 1)[-1]: "" for row in manifest.rows}
    return manifest, found | {refusal.id.rsplit("/", 1)[-1]: refusal.code for refusal in manifest.refused}


@pytest.mark.skipif(
    not os.environ.get("OUVROIR_TEST_DATA"), reason="OUVROIR_TEST_DATA does not name the shared data sets"
)
@pytest.mark.parametrize("task", TASKS)
def test_the_malformed_collection(task):
    folder = Path(os.environ["OUVROIR_TEST_DATA"]) / "malformed"
    manifest, _ = outcomes(folder, task)
    assert manifest.found >= 73
    if manifest.rows and len(manifest.labels) > 1:
        manifest.require_trainable()


def write(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_texts(place):
    line = b"word " * 10_000_000
    good = {
        f"{label}/good{n}.txt": f"an ordinary {label} text, number {n}".encode()
        for label in ("A", "B")
        for n in range(6)
    }
    bad = {
        "A/nothing.txt": b"",
        "A/blank.txt": b" \n\t \n",
        "A/one_line_of_50_MB.txt": line,
        "A/nul.txt": b"text with \0 bytes \0\0",
        "A/binary.txt": bytes(range(256)) * 40,
        "A/utf16.txt": "un texte accentué, été".encode("utf-16"),
        "A/latin.txt": "déjà vu, été comme hiver, à la légère".encode("latin-1"),
        "A/mixed.txt": "déjà vu ".encode() * 30 + "été".encode("latin-1"),
        "B/picture.txt": b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
        "a/case.txt": b"a class that differs by case only",
    }
    manifest, found = outcomes(write(place / "texts", {**good, **bad}), "text-classification")
    refused = {name for name, code in found.items() if code}
    assert refused == {"nothing.txt", "blank.txt", "binary.txt", "picture.txt", "one_line_of_50_MB.txt"}
    assert found["one_line_of_50_MB.txt"] == "too_large"
    said = " ".join(note.text for note in manifest.notes)
    for name in ("latin.txt", "utf16.txt", "mixed.txt"):
        assert f"`{name}` is not UTF-8" in said
    assert "`nul.txt` holds zero bytes" in said
    mixed = next(row for row in manifest.rows if row.id.endswith("mixed.txt"))
    assert text_of(mixed.source(manifest.root), Limits())[0].endswith("déjà vu été")
    notes = {note.code for note in manifest.notes}
    assert {"label_variants", "single_row"} <= notes


def test_sounds(place):
    rng = np.random.default_rng(0)

    def noise(n=4000):
        return as_wav(rng.integers(-5000, 5000, n).astype(np.int16), 8000)

    def silence_of_ten_hours():
        file = io.BytesIO()
        with av.open(file, mode="w", format="flac") as container:
            stream = container.add_stream("flac", rate=8000)
            stream.layout = "mono"
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 60), np.int16), format="s16", layout="mono")
            for minute in range(600):
                frame.sample_rate, frame.pts = 8000, minute * 8000 * 60
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return file.getvalue()

    whole = noise()
    lying = bytearray(whole)
    lying[40:44] = (2**31 - 1).to_bytes(4, "little")
    no_rate = bytearray(whole)
    no_rate[24:28] = bytes(4)
    clip = as_mp4(clip_of("sways", 0, 0), 10)
    good = {f"{label}/good{n}.wav": noise() for label in ("A", "B") for n in range(6)}
    bad = {
        "A/nothing.wav": b"",
        "A/cut.wav": whole[:2000],
        "A/lying.wav": bytes(lying),
        "A/no_rate.wav": bytes(no_rate),
        "A/one_sample.wav": as_wav(np.array([300], np.int16), 8000),
        "A/ten_hours.flac": silence_of_ten_hours(),
        "A/text.wav": b"no sound at all, and long enough to be looked at twice",
        "B/flac_by_name.flac": noise(),
        "B/silent_film.mp4": clip,
        "B /blank.wav": noise(),
    }
    manifest, found = outcomes(write(place / "sounds", {**good, **bad}), "audio-classification")
    assert {name for name, code in found.items() if code} >= {
        "nothing.wav", "no_rate.wav", "one_sample.wav", "ten_hours.flac", "text.wav", "silent_film.mp4",
    }  # fmt: skip
    assert found["ten_hours.flac"] == "silent"
    assert found["silent_film.mp4"] == "no_sound"
    assert found["flac_by_name.flac"] == ""
    assert not any(found[name.rsplit("/", 1)[-1]] for name in good)
    assert "label_variants" in {note.code for note in manifest.notes}


def test_videos(place):
    def film(scene, move="drifts_left"):
        return as_mp4(clip_of(move, scene, 0), 10)

    def sound_alone():
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(np.random.default_rng(0).integers(-9, 9, 8000).astype("<i2").tobytes())
        return file.getvalue()

    def bomb():
        """Frames of 8,000 pixels, wide and high, all alike: a few kilobytes that would fill 192 MB each."""
        file = io.BytesIO()
        with av.open(file, mode="w", format="matroska") as container:
            stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "threads": "1"})
            stream.width, stream.height, stream.pix_fmt = 8000, 8000, "yuv420p"
            frame = av.VideoFrame(8000, 8000, "yuv420p")
            for plane in frame.planes:
                np.frombuffer(plane, np.uint8)[:] = 128
            for number in range(2):
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return file.getvalue()

    def uneven():
        """Frames whose times are far apart and near: a second, then three together."""
        file = io.BytesIO()
        with av.open(file, mode="w", format="matroska") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for at, frame in zip((0, 1000, 1033, 1066, 2500, 2600), clip_of("sways", 5, 0), strict=False):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = at, Fraction(1, 1000)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return file.getvalue()

    def no_rate():
        """An AVI whose header says that a frame lasts no time and that there are 0 in a second."""
        file = io.BytesIO()
        with av.open(file, mode="w", format="avi") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 48, "yuvj420p"
            for frame in clip_of("drifts_right", 6, 0):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        content = bytearray(file.getvalue())
        head, stream_head = content.index(b"avih") + 8, content.index(b"strh") + 8
        content[head : head + 4] = bytes(4)
        content[stream_head + 24 : stream_head + 28] = bytes(4)
        return bytes(content)

    whole = film(1)
    moves = {"A": ("sways", 0), "B": ("drifts_left", 10)}
    good = {f"{label}/good{n}.mp4": film(first + n, move) for label, (move, first) in moves.items() for n in range(6)}
    bad = {
        "A/nothing.mp4": b"",
        "A/cut.mp4": whole[: len(whole) // 2],
        "A/no_end.mp4": whole[:-10],
        "A/text.mp4": b"no video at all, and long enough to be looked at twice",
        "A/one_frame.mp4": as_mp4(clip_of("sways", 3, 0)[:1], 10),
        "A/bomb.mkv": bomb(),
        "A/uneven.mkv": uneven(),
        "A/no_rate.avi": no_rate(),
        "B/sound.mp4": sound_alone(),
        "B/mkv_by_name.mkv": film(99),
    }
    manifest, found = outcomes(write(place / "videos", {**good, **bad}), "video-classification")
    refused = {"nothing.mp4", "cut.mp4", "text.mp4", "one_frame.mp4", "sound.mp4", "bomb.mkv"}
    assert {name for name, code in found.items() if code} == refused
    assert found["bomb.mkv"] == "too_large"
    assert found["sound.mp4"] == "no_film"
    assert found["one_frame.mp4"] == "too_short"
    assert found["mkv_by_name.mkv"] == ""
    assert not any(found[name.rsplit("/", 1)[-1]] for name in good)
    seconds = {row.id.rsplit("/", 1)[-1]: row.details["seconds"] for row in manifest.rows}
    assert seconds["uneven.mkv"] == pytest.approx(2.7, abs=0.15)
    assert 0.5 < seconds["no_rate.avi"] < 5


@pytest.mark.parametrize("task", TASKS[1:])
def test_one_class_alone_is_told(place, task):
    ouvroir.sample(task, place / "sample")
    one = sorted(path for path in (place / "sample").iterdir() if path.is_dir())[0]
    few = {f"only/{path.name}": path.read_bytes() for path in list(one.iterdir())[:8]}
    manifest, found = outcomes(write(place / "alone", few), task)
    assert not any(found.values())
    assert "one_class" in {note.code for note in manifest.notes}
    with pytest.raises(ouvroir.OuvroirError, match="one class, `only`"):
        manifest.require_trainable()
