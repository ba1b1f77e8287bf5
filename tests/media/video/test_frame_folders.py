"""Folders of numbered pictures as videos: in a folder, in a zip, named by a table, handed to a model; and animated GIFs."""

import io
import tracemalloc
import zipfile
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

import ouvroir
from ouvroir.errors import Refused
from ouvroir.media import find_task
from ouvroir.media.video.classification import VideoClassification
from ouvroir.media.video.decode import decode, inspect_video
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.predictor import expand_inputs
from ouvroir.source import Archive, Source, folder_locator
from ouvroir.task import Limits

TASK = "video-classification"
PROCESSOR_SOURCE = find_task(TASK).as_source
PROCESSOR = VideoProcessor(fps=10, n_frames=4, storage_px=16, most_seconds=60)


def write_frames(folder, levels, *, suffix=".png"):
    folder.mkdir(parents=True)
    for number, level in enumerate(levels, 1):
        Image.new("RGB", (24, 20), (int(level),) * 3).save(folder / f"frame_{number}{suffix}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    for label, slope in (("brighter", 8), ("darker", -8)):
        for take in range(6):
            start = rng.integers(100, 150)
            write_frames(
                tmp_path / "clips" / label / f"take{take}", start + slope * np.arange(12) + rng.integers(0, 9, 12)
            )
    return tmp_path


def test_each_folder_of_frames_is_one_row(place):
    (place / "clips" / "darker" / "take0" / "note.txt").write_text("beside")
    manifest = ouvroir.check(place / "clips", task=TASK)
    assert len(manifest.rows) == 12
    assert {row.label for row in manifest.rows} == {"brighter", "darker"}
    assert [refusal.code for refusal in manifest.refused] == ["not_readable_here"]
    assert manifest.found == 13
    assert manifest.rows[0].id == "brighter/take0/"
    assert manifest.rows[0].details["frames"] == 12
    assert any(note.code == "sequences" for note in manifest.notes)
    assert not any(note.code == "nested_folders" for note in manifest.notes)


def test_without_a_task_it_is_said_that_folders_may_be_clips(place):
    notes = {note.code: note.text for note in ouvroir.check(place / "clips").notes}
    assert f"--task {TASK}" in notes["sequences_proposed"]
    assert "sequences_proposed" not in {note.code for note in ouvroir.check(place / "clips", task=TASK).notes}


def test_a_changed_frame_is_seen(place):
    before = {row.id: row.sha256 for row in ouvroir.check(place / "clips", task=TASK).rows}
    Image.new("RGB", (24, 20), (255, 0, 0)).save(place / "clips" / "darker" / "take1" / "frame_3.png")
    after = {row.id: row.sha256 for row in ouvroir.check(place / "clips", task=TASK).rows}
    assert {name for name in before if before[name] != after[name]} == {"darker/take1/"}


def test_what_lies_beside_frames_is_not_read(place):
    beside = place / "clips" / "darker" / "take1" / "0001.txt"
    beside.write_text("before")
    before = {row.id: row.sha256 for row in ouvroir.check(place / "clips", task=TASK).rows}
    beside.write_text("and after")
    after = ouvroir.check(place / "clips", task=TASK)
    assert {row.id: row.sha256 for row in after.rows} == before
    with zipfile.ZipFile(io.BytesIO(after.rows[0].source(after.root).read(10**7))) as archive:
        assert set(archive.namelist()) == {f"frame_{number}.png" for number in range(1, 13)}


def test_frames_of_several_suffixes_and_at_the_top_of_a_zip(place):
    for number, path in enumerate(sorted((place / "clips" / "darker" / "take1").iterdir())):
        if number % 2:
            Image.open(path).save(path.with_suffix(".jpg"))
            path.unlink()
    beside = place / "clips" / "darker" / "take1" / "log2.txt"
    beside.write_text("what is no frame")
    manifest = ouvroir.check(place / "clips", task=TASK)
    row = next(row for row in manifest.rows if row.id == "darker/take1/")
    with zipfile.ZipFile(io.BytesIO(row.source(manifest.root).read(10**7))) as archive:
        assert len(archive.namelist()) == 12
        assert "log2.txt" not in archive.namelist()
    with zipfile.ZipFile(place / "take.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", b"a picture")
        archive.writestr("log.txt", b"no picture")
        archive.writestr("deeper/4.png", b"another")
    top = Source(root=str(place), locator=folder_locator("take.zip::0.png", {".png"}))
    assert (top.name, top.is_there()) == ("take.zip", True)
    with zipfile.ZipFile(io.BytesIO(top.read(10**7))) as archive:
        assert archive.namelist() == ["0.png", "1.png", "2.png"]


def test_a_hidden_folder_is_read_and_not_the_root_of_the_disk(tmp_path):
    write_frames(tmp_path / ".take", [10, 20, 30])
    source = PROCESSOR_SOURCE(tmp_path / ".take")
    assert source.name == ".take"
    with zipfile.ZipFile(io.BytesIO(source.read(10**7))) as archive:
        assert len(archive.namelist()) == 3


def test_frames_of_16_bits_are_scaled_alike(tmp_path):
    for number, level in enumerate((500, 2000, 4000), 1):
        path = tmp_path / "take" / f"frame_{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 24), level, np.uint16)).save(path)
    source = Source(root=str(tmp_path), locator="take/.png/")
    clip = decode(source.read(10**7), source.name, Limits(), fps=10, px=16, is_folder=True)
    assert source.name == "take"
    assert [int(frame.mean()) for frame in clip.frames] == [31, 125, 249]


def test_frames_in_a_zip_and_named_by_a_table(place):
    with zipfile.ZipFile(place / "clips.zip", "w") as archive:
        for path in sorted((place / "clips").rglob("*.png")):
            archive.write(path, path.relative_to(place / "clips"))
    zipped = ouvroir.check(place / "clips.zip", task=TASK)
    plain = ouvroir.check(place / "clips", task=TASK)
    assert {row.sha256 for row in zipped.rows} == {row.sha256 for row in plain.rows}
    lines = [f"{label}/take{take},{label}" for label in ("brighter", "darker") for take in range(6)]
    (place / "clips" / "labels.csv").write_text("\n".join(["video,label", *lines]))
    named = ouvroir.check(place / "clips" / "labels.csv", task=TASK)
    assert {row.sha256 for row in named.rows} == {row.sha256 for row in plain.rows}


def test_frames_are_in_the_order_of_their_numbers(place):
    write_frames(place / "one", np.arange(12) * 20)
    clip = decode(Source(str(place), "one/").read(10**7), "one", Limits(), fps=10, px=8, is_folder=True)
    assert clip.frames.mean(axis=(1, 2, 3)).tolist() == (np.arange(12) * 20).tolist()
    assert clip.seconds == pytest.approx(1.2)
    slower = decode(Source(str(place), "one/").read(10**7), "one", Limits(), fps=5, px=8, is_folder=True)
    assert slower.frames.mean(axis=(1, 2, 3)).tolist() == (np.arange(0, 12, 2) * 20).tolist()


def test_what_cannot_be_frames_is_refused(place):
    write_frames(place / "bad", [10, 20, 30])
    (place / "bad" / "frame_2.png").write_bytes(b"no picture")
    with pytest.raises(Refused, match=r"frame_2\.png` could not be decoded"):
        inspect_video(Source(str(place), "bad/"), Limits())
    (place / "none").mkdir()
    with pytest.raises(Refused, match="holds no files"):
        inspect_video(Source(str(place), "none/"), Limits())
    with pytest.raises(Refused, match="the most that one item may have"):
        inspect_video(Source(str(place), "clips/darker/take0/"), Limits(max_bytes=100))
    with pytest.raises(Refused, match="is not there"):
        inspect_video(Source(str(place), "absent/"), Limits())


def test_a_model_is_handed_folders(place):
    given = [name for name, _ in expand_inputs([place / "clips"], TASK)]
    assert len(given) == 12
    assert given[0].endswith("brighter/take0")
    settings = {
        "loop.steps": 60,
        "loop.batch_size": 8,
        "loop.micro_batch": 8,
        "loop.precision": "fp32",
        "loop.threads": 1,
        "options.storage_px": 32,
        "options.light": 0.0,
        "data.validation": 0.1,
        "data.test": 0.2,
    }
    run = ouvroir.train(place / "clips", task=TASK, preset="tiny", settings=settings, runs=place / "runs")
    write_frames(place / "new", 100 + 8 * np.arange(12))
    (found,) = ouvroir.predict(run.path, [place / "new"])
    assert set(found.scores) == {"brighter", "darker"}
    assert "brighter/take" in (run.path / "report.html").read_text(encoding="utf-8")


def test_animated_gifs_are_videos_when_asked(place):
    folder = place / "gifs" / "blink"
    folder.mkdir(parents=True)
    for number in range(3):
        frames = [Image.new("L", (32, 32), level + number) for level in (10, 200, 10, 200)]
        frames[0].save(folder / f"{number}.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    file = io.BytesIO((folder / "0.gif").read_bytes())
    clip = decode(file.getvalue(), "0.gif", Limits(), fps=10, px=8)
    assert clip.n_decoded == 4
    assert clip.frames.mean(axis=(1, 2, 3)) == pytest.approx([10, 200, 10, 200], abs=3)
    manifest = ouvroir.check(place / "gifs", task=TASK)
    assert manifest.found == 3
    assert not manifest.refused
    assert ouvroir.check(place / "gifs").task == "image-classification"


def test_pictures_beside_videos_make_no_row(place):
    (place / "clips" / "brighter" / "film.mp4").write_bytes(as_mp4(np.zeros((4, 32, 32, 3), np.uint8), 10))
    for number in range(2):
        Image.new("RGB", (24, 20)).save(place / "clips" / "brighter" / f"poster{number}.jpg")
    manifest = ouvroir.check(place / "clips", task=TASK)
    assert {row.label for row in manifest.rows} == {"brighter", "darker"}
    assert {refusal.id for refusal in manifest.refused} == {"brighter/poster0.jpg", "brighter/poster1.jpg"}
    grouped = ouvroir.check(place / "clips", task=TASK, settings={"data.group_pattern": "^(take[0-9]|film)"})
    assert {row.group for row in grouped.rows} >= {"take0", "take5"}


def test_what_a_folder_holds_is_read_no_further_than_the_limit_and_by_no_program(place):
    with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f"clip/{number}.png", bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(Refused, match="the most that one item may have"):
        Source(str(place), "bomb.zip::clip/").read(1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    write_frames(place / "eps", [10, 20])
    (place / "eps" / "frame_1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    with pytest.raises(Refused, match=r"frame_1\.png` could not be decoded"):
        inspect_video(Source(str(place), "eps/"), Limits())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(place / "eps" / "frame_2.png", "0.png")
    with pytest.raises(Refused, match="no video that can be read"):
        inspect_video(Source("", "zip.mp4", content=zipped.getvalue()), Limits())


def test_what_lies_beside_frames_does_not_count_for_an_answer(place):
    """Neither in learning nor in answering: a recording of another kind may be larger than one item may have."""
    write_frames(place / "beside", [10, 60, 110])
    (place / "beside" / "raw.bin").write_bytes(bytes(200_000))
    source = VideoClassification().as_source(place / "beside")
    assert source.name == "beside"
    with zipfile.ZipFile(io.BytesIO(source.read(100_000))) as found:
        assert all(name.endswith(".png") for name in found.namelist())
        assert len(found.namelist()) == 3


def test_folders_of_one_zip_are_found_without_looking_through_it_each_time(place, monkeypatch):
    with zipfile.ZipFile(place / "many.zip", "w") as archive:
        for take in range(30):
            for number in (10, 9, 1):
                archive.writestr(f"take{take}/{number}.png", f"{take} {number}")
    listed = []
    names = zipfile.ZipFile.namelist
    monkeypatch.setattr(zipfile.ZipFile, "namelist", lambda self: listed.append(1) or names(self))
    with closing(Archive(place / "many.zip")) as archive:
        for take in range(30):
            with zipfile.ZipFile(io.BytesIO(archive.read(f"take{take}/", 10_000))) as found:
                assert [info.filename for info in found.infolist()] == ["1.png", "9.png", "10.png"]
                assert found.read("9.png") == f"{take} 9".encode()
    assert len(listed) == 1
