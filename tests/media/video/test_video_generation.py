"""Video generation: samples follow from seed, place and class, say that they are synthetic, and have the style they are given."""

import io

import av
import numpy as np
import pytest
import torch

import ouvroir
from ouvroir.errors import UsageError
from ouvroir.media.video.decode import decode
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.filming import N_KEPT, N_LATENT, N_STYLES, ClipMaker, clip_loss, shifted, style_of
from ouvroir.media.video.generation import AT_ONCE, Options, VideoGeneration
from ouvroir.media.video.processor import VideoProcessor, in_clips
from ouvroir.media.video.samples import FPS, clip_of
from ouvroir.recipe import Model, Recipe
from ouvroir.task import Limits

TASK = VideoGeneration()
PROCESSOR = VideoProcessor(labels=("a", "b"), fps=5, n_frames=4, storage_px=12, most_seconds=0.8)
RECIPE = Recipe(task=TASK.name, model=Model(preset="tiny"), options=Options(storage_px=12, sample_steps=2))


def build(seed=0, px=12):
    torch.manual_seed(seed)
    model = ClipMaker(px=px, n_frames=4, n_classes=2, width=8, scale=1 / 137, pi=3.14)
    model.keep(torch.randn(6, N_STYLES), torch.tensor([0, 0, 0, 1, 1, 1]))
    return model


def made(labels, *, model=None, seed=0, **changes):
    return [
        one.content
        for one in TASK.make(model or build(), PROCESSOR, RECIPE, labels, seed=seed, device="cpu", **changes)
    ]


def frames_of(content):
    return decode(content, "made", Limits(), fps=5, px=12).frames


def test_files_are_videos_that_say_that_they_are_synthetic():
    (content,) = made(["b"], seed=7)
    with av.open(io.BytesIO(content)) as container:
        assert container.metadata["comment"] == "synthetic: true; label: b; seed: 7"
        assert container.streams.video[0].average_rate == 5
    assert frames_of(content).shape == (4, 12, 12, 3)


def test_a_sample_depends_on_its_place_and_not_on_how_many_are_asked_for():
    many = made(["a", None] * (AT_ONCE // 2 + 2))
    assert many[: AT_ONCE + 1] == made((["a", None] * AT_ONCE)[: AT_ONCE + 1])
    assert made(["a"], seed=1) != made(["a"])
    with pytest.raises(UsageError, match="no class"):
        made(["c"])


def test_what_is_decoded_has_the_size_of_the_clip_and_the_colours_of_its_style():
    for px, n_frames in ((12, 4), (13, 6), (32, 8)):
        model = ClipMaker(px=px, n_frames=n_frames, n_classes=2, width=8, scale=0.1, pi=None)
        frames = torch.randint(0, 255, (3, n_frames, px, px, 3), dtype=torch.uint8)
        maps, labels = model.maps(frames), torch.eye(3)
        z = model.latents(maps)
        assert z.shape == (3, N_LATENT)
        assert z.square().mean(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-3)
        torch.nn.init.zeros_(model.decoder.layers[-1].weight)
        torch.nn.init.zeros_(model.decoder.layers[-1].bias)
        made = model.frames(model(z, labels, model.style(frames)))
        assert made.shape == frames.shape
        want = frames.float().mean(dim=(1, 2, 3))
        assert torch.allclose(made.float().mean(dim=(1, 2, 3)), want, atol=1.0)


def test_what_moves_counts_more():
    still = torch.zeros(2, 12, 4, 6, 6)
    still[1, :, 2, :3] = 1.0  # half of one frame differs from the other frames
    off = torch.zeros_like(still)
    off[1, :, 2, :3] = 0.5
    assert clip_loss(off, still)[0] == 0
    assert clip_loss(off, still)[1] > (off - still)[1].square().mean()


def test_clips_are_moved_by_whole_pixels():
    frames = torch.arange(2 * 3 * 5 * 6 * 3).view(2, 3, 5, 6, 3)
    moved = shifted(frames, torch.tensor([1, -2]), torch.tensor([0, 2]))
    assert torch.equal(moved[0, :, :, 1:], frames[0, :, :, :-1])
    assert torch.equal(moved[0, :, :, 0], frames[0, :, :, 0])
    assert torch.equal(moved[1, :, 2:, :4], frames[1, :, :3, 2:])


def test_folding_loses_nothing_even_where_edges_are_odd():
    for px in (12, 13):
        frames = torch.randint(0, 255, (2, 4, px, px, 3), dtype=torch.uint8)
        model = build(px=px)
        assert model.maps(frames).shape == (2, 12, 4, -(-px // 2), -(-px // 2))
        assert torch.equal(model.frames(model.maps(frames)), frames)


def test_the_style_knows_colour_amount_and_direction_of_change():
    left, right = (
        torch.from_numpy(np.stack([clip_of(f"drifts_{way}", scene, 0) for scene in range(8)]))
        for way in ("left", "right")
    )
    assert (style_of(left)[:, 5] < -0.2).all()
    assert (style_of(right)[:, 5] > 0.2).all()
    red = torch.zeros(1, 4, 12, 12, 3, dtype=torch.uint8)
    red[..., 0] = 255
    assert style_of(red)[0].tolist() == pytest.approx([1, -1, -1, 0, 0, 0, 0], abs=1e-4)


def test_styles_of_new_clips_are_those_of_train_clips_of_the_class():
    model = build()
    assert model.styles.shape == (N_KEPT, N_STYLES)
    of_a = {tuple(row) for row in model.styles[model.styles_of == 0].tolist()}
    weights = torch.tensor([[1.0, 0, 0]] * 40 + [[0, 0, 1.0]] * 40)
    found = model.drawn(weights, torch.arange(80) / 80)
    assert {tuple(row) for row in found[:40].tolist()} == of_a
    assert len({tuple(row) for row in found[40:].tolist()}) == 6


@pytest.mark.slow
def test_the_loss_falls_and_what_is_made_moves_as_its_class(tmp_path, monkeypatch):
    """Drifting shapes, few and small: a clip of a class drifts that way, and comes again the same."""
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    for name in ("drifts_left", "drifts_right"):
        (tmp_path / "moves" / name).mkdir(parents=True)
        for scene in range(16):
            content = as_mp4(clip_of(name, scene, 0), FPS)
            (tmp_path / "moves" / name / f"scene{scene:02d}.mp4").write_bytes(content)
    settings = {
        "loop.steps": 400,
        "loop.batch_size": 16,
        "loop.micro_batch": 16,
        "loop.precision": "fp32",
        "loop.layout": "contiguous",
        "loop.threads": 1,
        "options.storage_px": 16,
        "options.fps": 5,
        "options.n_frames": 4,
        "optim.ema": 0.9,
    }
    run = ouvroir.train(tmp_path / "moves", task=TASK.name, preset="tiny", settings=settings, runs=tmp_path / "runs")
    losses = [one.value for one in run.metrics() if one.split == "train" and one.name == "clip"]
    assert losses[-1] < 0.7 * losses[0]
    found = ouvroir.generate(run.path, count=6, seed=3)
    assert len(found.files) == 12
    assert {path.suffix for path in found.files} == {".mp4"}
    moved = {}
    for path in found.files:
        frames = torch.from_numpy(decode(path.read_bytes(), "made", Limits(), fps=5, px=16).frames)
        moved.setdefault("left" in str(path), []).append(float(style_of(frames[None])[0, 5]))
    assert np.mean(moved[True]) < np.mean(moved[False])
    parent = tmp_path / "moves" / "drifts_left" / "scene03.mp4"
    processor, real = (
        ouvroir.load(run.path).processor,
        decode(parent.read_bytes(), "p", Limits(), fps=5, px=16).frames[:4],
    )
    predictor = ouvroir.load(run.path)

    def distance(begin):
        """Between the parent and its variations from that far on, on average."""
        made = TASK.make(
            predictor.model, processor, predictor.recipe, ["drifts_left"] * 4, seed=0, device="cpu",
            parents=[in_clips(real, 4)] * 4, begin=begin,
        )  # fmt: skip
        clips = [decode(one.content, "made", Limits(), fps=5, px=16).frames.astype(float) for one in made]
        return np.mean([np.abs(clip - real).mean() for clip in clips])

    assert distance(0.95) < distance(0.3)
    again = [path.read_bytes() for path in ouvroir.generate(run.path, count=6, seed=3).files]
    assert again == [path.read_bytes() for path in found.files]


def test_the_same_frames_give_the_same_file_whatever_memory_holds():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (12, 4, 12, 12, 3), dtype=np.uint8).repeat(2, 2).repeat(2, 3)
    first = [as_mp4(clip, 5, quality=8) for clip in frames]
    for _ in range(10):
        junk = [np.full(int(n), 7.7) for n in rng.integers(100, 200_000, 20)]
        del junk
        assert [as_mp4(clip, 5, quality=8) for clip in frames] == first
