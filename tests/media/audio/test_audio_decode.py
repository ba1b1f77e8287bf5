"""How sounds are opened: any container and codec, and one outcome for everything that is none."""

import io
import os
import tracemalloc
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ouvroir.errors import Refused, UsageError
from ouvroir.media.audio.classification import AudioClassification
from ouvroir.media.audio.decode import cancels, decode, inspect_sound, near_key, usual_rate
from ouvroir.media.audio.encode import as_wav
from ouvroir.source import Source
from ouvroir.task import Limits

av = pytest.importorskip("av")
RATE = 16_000


def tone(seconds=1.0, rate=RATE, hz=440.0, loud=0.4):
    times = np.arange(round(seconds * rate)) / rate
    return np.rint(loud * 32767 * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def encoded(samples, rate, kind, codec, layout="mono", **options):
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, **options)
        planes = samples[None] if layout == "mono" else np.repeat(samples, 2)[None]
        frame = av.AudioFrame.from_ndarray(planes, format="s16", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def opened(content, **changes):
    return decode(content, "x.wav", Limits(**changes), rate=RATE)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 8_000),
        ("wav", "pcm_s16le", 48_000),
        ("flac", "flac", 16_000),
        ("ogg", "libopus", 48_000),
        ("mp3", "libmp3lame", 44_100),
        ("mp4", "aac", 44_100),
        ("aiff", "pcm_s16be", 22_050),
        ("matroska", "pcm_s16le", 32_000),
    ],
)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_a_tone_is_the_same_in_any_format(kind, codec, rate, layout):
    sound = opened(encoded(tone(rate=rate), rate, kind, codec, layout))
    assert sound.original_rate == rate
    assert sound.n_channels == (1 if layout == "mono" else 2)
    assert sound.seconds == pytest.approx(1.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(sound.samples.astype(np.float64)))
    assert spectrum.argmax() / sound.seconds == pytest.approx(440, abs=3)
    assert 0.25 < np.abs(sound.samples[4000:12000]).max() / 32767 < 0.55


def test_our_own_files_are_read_by_others_and_say_what_they_are():
    content = as_wav(tone(), RATE, {"ISFT": "Ouvroir", "ICMT": "synthetic: true"})
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (RATE, 1, 2, RATE)
    with av.open(io.BytesIO(content)) as container:
        assert container.metadata["comment"] == "synthetic: true"
    assert np.array_equal(opened(content).samples, tone())


def test_the_sound_of_a_video_is_heard():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        audio = container.add_stream("aac", rate=44_100, layout="mono")
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(tone(rate=44_100)[None], format="s16", layout="mono")
        frame.sample_rate = 44_100
        for packet in [*video.encode(None), *audio.encode(frame), *audio.encode(None)]:
            container.mux(packet)
    assert opened(file.getvalue()).seconds == pytest.approx(1.0, abs=0.1)


def silent_video():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


GOOD = as_wav(tone(), RATE)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"RIFF", "not_a_sound"),
        (b"this is a text and no sound at all, however it is called", "not_a_sound"),
        (bytes(range(256)) * 8, "not_a_sound"),
        (as_wav(tone()[:1], RATE), "too_short"),
        (as_wav(tone()[:0], RATE), "too_short"),
        (silent_video(), "no_sound"),
        (as_wav(np.zeros(RATE, np.int16), RATE), "silent"),
        (GOOD[:24] + b"\0\0\0\0" + GOOD[28:], None),
    ],
)
def test_what_is_no_sound_is_refused(content, code):
    with pytest.raises(Refused) as refused:
        inspect_sound(Source("", "x.wav", content=content), Limits())
    assert code in (None, refused.value.code)
    assert refused.value.reason.endswith(".")
    assert ("holds text" in refused.value.reason) == content.startswith(b"this is a text")


def test_a_header_that_lies_about_its_length_is_noted():
    longer = bytearray(GOOD)
    at = longer.index(b"data") + 4
    longer[at : at + 4] = (10 * 2 * RATE).to_bytes(4, "little")
    facts = inspect_sound(Source("", "x.wav", content=bytes(longer)), Limits())
    assert facts.details["seconds"] == pytest.approx(1.0, abs=0.01)
    assert facts.notes == ("`x.wav` ends after 1.0 s, and says that it lasts 10.0 s. It was probably cut.",)


def test_a_truncated_sound_keeps_what_there_is():
    whole = encoded(tone(3.0), RATE, "flac", "flac")
    sound = opened(whole[: len(whole) // 2])
    assert 0.5 < sound.seconds < 2.5


def test_ten_hours_of_silence_cost_little():
    header = as_wav(np.zeros(0, np.int16), 8_000)
    content = header[:-4] + (2 * 8_000 * 36_000).to_bytes(4, "little") + bytes(2 * 8_000 * 600)
    tracemalloc.start()
    with pytest.raises(Refused) as refused:
        inspect_sound(Source("", "x.wav", content=content), Limits(max_elements=1_000_000))
    assert tracemalloc.get_traced_memory()[1] < 60_000_000  # the file itself has 10 MB, and ten hours would have 576
    tracemalloc.stop()
    assert refused.value.code == "too_large"


def test_oddities_are_noted():
    clipped = np.clip(tone(loud=0.9).astype(np.int32) * 3, -32768, 32767).astype(np.int16)
    (note,) = inspect_sound(Source("", "x.wav", content=as_wav(clipped, RATE)), Limits()).notes
    assert "clipped" in note
    rare = np.concatenate([tone(0.1), np.zeros(3 * RATE, np.int16)])
    (note,) = inspect_sound(Source("", "x.wav", content=as_wav(rare, RATE)), Limits()).notes
    assert "silent for most" in note
    assert inspect_sound(Source("", "x.wav", content=GOOD), Limits()).notes == ()


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_same_recording_in_another_format_has_nearly_the_same_key():
    rng = np.random.default_rng(0)
    times = np.arange(RATE) / RATE
    sweep = np.sin(2 * np.pi * (300 + 900 * times) * times) * np.hanning(RATE) + 0.01 * rng.normal(size=RATE)
    samples = np.rint(8000 * sweep).astype(np.int16)
    key = near_key(samples)
    assert cosine(key, near_key((samples * 0.5).astype(np.int16))) > 0.999
    again = opened(encoded(samples, RATE, "mp3", "libmp3lame")).samples
    assert cosine(key, near_key(again)) > 0.95
    assert cosine(key, near_key(tone())) < 0.8


@pytest.mark.parametrize(
    ("rates", "want"),
    [({8_000: 100}, 8_000), ({44_100: 9, 8_000: 91}, 8_000), ({44_100: 50, 8_000: 50}, 16_000), ({6_000: 3}, 8_000)],
)
def test_the_usual_rate(rates, want):
    assert usual_rate(rates, 16_000) == want


def test_every_damaged_file_has_one_outcome():
    folder = os.environ.get("OUVROIR_TEST_DATA")
    if not folder:
        pytest.skip("OUVROIR_TEST_DATA does not name the shared data sets")
    found = {}
    for path in sorted(Path(folder, "malformed").rglob("*")):
        if path.is_file() and path.suffix.lower() not in (".csv", ".txt"):
            try:
                found[path.name] = inspect_sound(Source(str(path.parent), path.name), Limits())
            except Refused as refused:
                found[path.name] = refused.reason
    assert len(found) > 40
    assert all(one.endswith((".", "?")) for one in found.values() if isinstance(one, str))


def test_a_sound_inside_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.wav", GOOD)
    assert inspect_sound(Source(str(tmp_path), "a.zip::x.wav"), Limits()).details["rate"] == RATE


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_array_is_heard_as_its_file_would_be(dtype, channels):
    """A tone, half as loud in the second channel: what libraries give for the same file in several forms."""
    one = tone(loud=0.5).astype(np.float64) / 32768
    values = one[:, None] * np.array([1.0, 0.5])[:channels]
    kind = np.dtype(dtype)
    if kind.kind == "u":
        values = np.rint((values + 1) * 127.5)
    elif kind.kind == "i":
        values = np.rint(values * np.iinfo(kind).max)
    array = values.astype(kind)[:, 0] if channels == 1 else values.astype(kind)
    source = AudioClassification().as_source((array, RATE))
    heard = decode(source.read(10**7), "x", Limits(), rate=RATE).samples / 32768
    wanted = one * (1.0 if channels == 1 else 0.75)
    assert np.abs(heard - wanted).max() < (0.01 if kind.kind == "u" else 1e-3)


@pytest.mark.parametrize("unlike", [1.0, 0.99])
def test_channels_that_cancel_each_other_out_are_heard(unlike):
    left = tone()
    right = (-unlike * left).astype(np.int16)
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setparams((2, 2, RATE, 0, "NONE", ""))
            written.writeframes(np.stack([left, right], axis=1).tobytes())
        sound = opened(file.getvalue())
    assert sound.n_channels == 2
    np.testing.assert_array_equal(sound.samples, left)
    array = np.stack([left, right], axis=1)
    given = decode(AudioClassification().as_source((array, RATE)).read(10**7), "x", Limits(), rate=RATE).samples
    assert np.abs(given.astype(np.int32) - left).max() <= 1
    assert not cancels(left // 20, left, RATE)
    assert not cancels(left // 2, left, RATE)  # the other channel is empty


def test_an_array_that_is_no_sound_is_refused():
    for array in (np.zeros((2, 3, 4), np.int16), np.array([True, False]), np.zeros(4, complex)):
        with pytest.raises(UsageError, match="is no sound"):
            AudioClassification().as_source((array, RATE))
