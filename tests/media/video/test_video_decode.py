"""Reading videos: sampled by time, turned, cut, refused with a reason; none is changed."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest

from ouvroir.errors import Refused
from ouvroir.media import VIDEO_SUFFIXES
from ouvroir.media.audio.encode import as_wav
from ouvroir.media.video.classification import VideoClassification
from ouvroir.media.video.decode import decode, inspect_video, near_key
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor, in_clips
from ouvroir.media.video.samples import clip_of
from ouvroir.source import Source
from ouvroir.task import Facts, Limits

PROCESSOR = VideoProcessor(fps=5, n_frames=4, storage_px=16, most_seconds=60)


def of(content, name="clip.mp4"):
    return Source(root="", locator=name, content=content)


def grey_clip(levels, fps=10, size=(32, 48)):
    """A clip whose frames are of one grey each."""
    frames = np.stack([np.full((*size, 3), level, dtype=np.uint8) for level in levels])
    return as_mp4(frames, fps, quality=4)


def levels_of(frames):
    return frames.mean(axis=(1, 2, 3))


def test_frames_are_those_shown_at_their_times():
    levels = np.arange(20) * 10 + 20
    clip = decode(grey_clip(levels), "a", Limits(), fps=5, px=8)
    assert levels_of(clip.frames) == pytest.approx(levels[::2], abs=3)
    clip = decode(grey_clip(levels), "a", Limits(), fps=5, px=8, most_seconds=1.0)
    assert levels_of(clip.frames) == pytest.approx(levels[:10:2], abs=3)


def test_a_video_of_uneven_rate_is_sampled_by_time():
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for place, level in ((0, 40), (1, 80), (2, 120), (10, 160), (20, 200)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format="rgb24")
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = decode(file.getvalue(), "a", Limits(), fps=10, px=8)
    wanted = [40, 80, *[120] * 8, *[160] * 10, 200]
    assert levels_of(clip.frames)[: len(wanted)] == pytest.approx(wanted, abs=4)


def test_a_slower_video_repeats_its_frames():
    clip = decode(grey_clip([50, 100, 150], fps=2), "a", Limits(), fps=6, px=8)
    assert levels_of(clip.frames)[:7] == pytest.approx([50] * 3 + [100] * 3 + [150], abs=3)


def test_clips_lie_end_to_end_and_the_last_frame_stays():
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    found = in_clips(frames, 4)
    assert found["begin"].tolist() == [0, 4, 6]
    assert found["frames"][2, :, 0, 0, 0].tolist() == [6, 7, 8, 9]
    short = in_clips(frames[:2], 4)
    assert short["frames"][0, :, 0, 0, 0].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not_a_film"),
        (b"no video at all, but words" * 400, "not_a_film"),
        (as_wav(np.zeros(4000, np.int16), 8000), "no_film"),
        (grey_clip([9] * 8)[:400], "damaged"),
        (grey_clip([90]), "too_short"),
    ],
    ids=["nothing", "words", "sound", "cut in its head", "one frame"],
)
def test_what_is_no_video_is_refused_with_a_reason(content, code):
    with pytest.raises(Refused) as refused:
        PROCESSOR.encode(of(content), Limits())
    assert refused.value.code == code


def test_frames_that_are_too_large_are_not_opened():
    with pytest.raises(Refused) as refused:
        inspect_video(of(grey_clip([9] * 4, size=(64, 64))), Limits(max_elements=64 * 64))
    assert refused.value.code == "too_large"


def test_a_still_picture_is_noted():
    assert "same picture" in inspect_video(of(grey_clip([90] * 10)), Limits()).notes[0]
    assert not inspect_video(of(as_mp4(clip_of("sways", 0, 0), 10)), Limits()).notes


def outcome_of(path):
    try:
        return VideoClassification().inspect(Source(root=str(path.parent), locator=path.name), Limits())
    except Refused as refused:
        return refused


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_another_encoding_is_a_near_duplicate_and_another_move_in_the_same_scene_is_none():
    def key(content):
        return near_key(decode(content, "a", Limits(), fps=10, px=16).frames)

    frames = clip_of("drifts_left", 3, 0)
    assert cosine(key(as_mp4(frames, 10, quality=12)), key(as_mp4(frames, 10, quality=32))) > 0.95
    assert cosine(key(as_mp4(frames, 10)), key(as_mp4(clip_of("drifts_right", 3, 1), 10))) < 0.7


@pytest.mark.skipif(
    not os.environ.get("OUVROIR_TEST_DATA"), reason="OUVROIR_TEST_DATA does not name the shared data sets"
)
def test_damaged_videos_have_one_outcome_each():
    folder = Path(os.environ["OUVROIR_TEST_DATA"]) / "malformed"
    mine = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in mine:
        before = path.read_bytes()
        outcome = outcome_of(path)
        assert isinstance(outcome, Facts) or (outcome.code and outcome.reason.endswith((".", "?"))), path
        assert not isinstance(outcome, Facts) or outcome.details["frames"] >= 2, path
        assert path.read_bytes() == before
    assert sum(path.suffix in VIDEO_SUFFIXES for path in mine) >= 3


@pytest.mark.skipif(
    not os.environ.get("OUVROIR_TEST_DATA"), reason="OUVROIR_TEST_DATA does not name the shared data sets"
)
def test_real_videos_of_other_containers_open():
    for path in sorted((Path(os.environ["OUVROIR_TEST_DATA"]) / "asl_gestures").glob("*.mkv"))[:3]:
        facts = inspect_video(Source(root=str(path.parent), locator=path.name), Limits())
        assert facts.details["fps"] == pytest.approx(30, abs=1)
        assert facts.details["width"] == 640


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (grey_clip([9] * 8)[:400], "`clip.mp4` lacks its index, which is written at the end: it was probably cut."),
        (grey_clip([9] * 8)[:39], "`clip.mp4` lacks its index"),
        ("où est le film ?".encode() * 300, "`clip.mp4` holds text, whatever it is called."),
        (bytes(range(256)) * 8, "`clip.mp4` is no video that can be read: Invalid data found when processing input."),
    ],
    ids=["cut in its data", "cut in its head", "words", "numbers"],
)
def test_what_is_wrong_is_said_where_it_can_be_told(content, said):
    with pytest.raises(Refused) as refused:
        PROCESSOR.encode(of(content), Limits())
    assert refused.value.reason.startswith(said)


def test_a_video_that_was_held_upright_is_shown_upright(tmp_path):
    """As phones write it: wider than high, with a note that it is to be turned."""
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(file.getvalue())
    at = content.index(b"tkhd") + 4 + 40  # the matrix of the track, as it stands in ISO/IEC 14496-12, 8.3.2
    one = (1 << 16).to_bytes(4, "big")
    none, minus = bytes(4), (-(1 << 16)).to_bytes(4, "big", signed=True)
    assert content[at : at + 4] == one
    turn = [none, one, none, minus, none, none, (32 << 16).to_bytes(4, "big"), none, bytes(content[at + 32 : at + 36])]
    content[at : at + 36] = b"".join(turn)
    for turned, wanted in ((False, (64, 32)), (True, (32, 64))):
        clip = decode(bytes(content) if turned else file.getvalue(), "a", Limits(), fps=10, px=8)
        assert (clip.width, clip.height) == wanted
