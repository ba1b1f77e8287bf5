"""Checkpoints are whole or absent, and read back as they were."""

import errno
import json
import shutil

import pytest
import torch
import toy
from torch import nn

from ouvroir.errors import CheckpointError, DeviceError, DiskFull
from ouvroir.run import Measurement, Run
from ouvroir.training.checkpoint import Checkpoints, Place, copy_state, load_model, read_checkpoint
from ouvroir.training.loop import fit


def save(folder, step, *, best_step=None, average=None, **kinds):
    place = Place(step=step, seconds=1.5, best_step=best_step or step, best_value=0.5, best_loss=1.0)
    return Checkpoints(folder).save(
        place,
        recipe=toy.recipe(),
        processor=toy.ToyProcessor(("a", "b")),
        weights={"w": torch.full((2, 3), float(step))},
        average=average,
        state={"optimizer/w/first": torch.arange(6.0).view(2, 3), "running/norm": torch.tensor(1.0)},
        **kinds,
    )


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_what_is_written_is_read_back(tmp_path):
    path = save(tmp_path, 7, average={"w": torch.zeros(2, 3)})
    saved = read_checkpoint(path)
    assert saved.place == Place(step=7, seconds=1.5, best_step=7, best_value=0.5, best_loss=1.0)
    assert torch.equal(saved.weights["w"], torch.full((2, 3), 7.0))
    assert torch.equal(saved.average["w"], torch.zeros(2, 3))
    assert set(saved.state) == {"optimizer/w/first", "running/norm"}
    assert set(json.loads((path / "hashes.json").read_text())) == {
        "model.safetensors",
        "training_state.safetensors",
        "training_state.json",
        "recipe.json",
        "processor/processor.json",
    }


def test_a_finished_run_keeps_what_answers_and_not_what_it_would_go_on_with(tmp_path):
    mean = {"w": torch.zeros(2, 3)}
    save(tmp_path, 1, average=mean, is_best=True)
    path = save(tmp_path, 2, best_step=1, average=mean)
    damaged = save(tmp_path, 3, best_step=1)
    damage(damaged / "model.safetensors")
    Checkpoints(tmp_path).drop_states()
    saved = read_checkpoint(path)
    assert (saved.place.step, saved.place.best_step, saved.place.is_complete) == (2, 1, True)
    assert torch.equal(saved.weights["w"], mean["w"])  # those that are judged
    assert not saved.state
    assert saved.average is None
    assert Run(tmp_path).checkpoint("best").name == "step_000001"
    assert Checkpoints(tmp_path).newest(toy.Told()).place.is_complete
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    Checkpoints(tmp_path).drop_states()
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_the_last_two_the_best_and_the_branch_are_kept(tmp_path):
    save(tmp_path, 1, is_branch=True)
    save(tmp_path, 2, is_best=True)
    for step in (3, 4, 5):
        save(tmp_path, step, best_step=2)
    assert names(tmp_path) == ["best.txt", "branch.txt", "last.txt", *(f"step_00000{n}" for n in (1, 2, 4, 5))]
    save(tmp_path, 6, is_best=True)
    assert names(tmp_path)[3:] == [f"step_00000{n}" for n in (1, 2, 5, 6)], (
        "5 still needs its best, should 6 be damaged"
    )
    save(tmp_path, 7, best_step=6)
    save(tmp_path, 8, best_step=6)
    assert names(tmp_path)[3:] == [f"step_00000{n}" for n in (1, 6, 7, 8)]
    run = Run(tmp_path)
    assert [run.checkpoint(which).name[-1] for which in ("branch", "best", "last")] == ["1", "6", "8"]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training_state.safetensors", "training_state.json", "hashes.json"]
)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_any_damage_is_noticed_and_the_one_before_is_taken(tmp_path, name, harm):
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    if harm == "remove":
        file.unlink()
    else:
        file.write_bytes(bytes(content) if harm == "flip" else bytes(content[: len(content) // 2]))
    told = toy.Told()
    saved = Checkpoints(tmp_path).newest(told)
    assert saved.place.step == 1
    assert told.has("step_000002", "damaged")
    assert (tmp_path / "checkpoints" / "last.txt").read_text() == "step_000001\n"
    save(tmp_path, 3)
    assert names(tmp_path) == ["best.txt", "damaged_step_000002", "last.txt", "step_000001", "step_000003"]


def test_the_one_before_a_damaged_branch_takes_its_place(tmp_path):
    save(tmp_path, 1, is_best=True)
    branch = save(tmp_path, 2, best_step=1, is_branch=True)
    save(tmp_path, 3, best_step=1)
    told = toy.Told()
    assert Checkpoints(tmp_path).branch(told) == branch
    damage(branch / "model.safetensors")
    assert Checkpoints(tmp_path).branch(told).name == "step_000001"
    assert told.has("step_000002 is damaged", "step_000001, the one before it, takes its place")
    damage(tmp_path / "checkpoints" / "step_000001" / "model.safetensors")
    with pytest.raises(CheckpointError, match="no older one is intact"):
        Checkpoints(tmp_path).branch(told)
    (tmp_path / "checkpoints" / "branch.txt").unlink()
    with pytest.raises(CheckpointError, match="could not be read"):
        Checkpoints(tmp_path).branch(told)


def test_a_copy_beside_the_checkpoints_is_none_of_them(tmp_path):
    saved = save(tmp_path, 1, is_best=True)
    shutil.copytree(saved, saved.with_name("step_000001_backup"))
    assert Checkpoints(tmp_path).newest(toy.Told()).place.step == 1
    save(tmp_path, 2, best_step=1)
    assert "step_000001_backup" in names(tmp_path)


def test_going_back_sets_aside_what_came_later(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, best_step=1, is_branch=step == 2)
    Checkpoints(tmp_path).go_back(2)
    assert {"replaced_step_000002", "replaced_step_000003", "step_000001"} <= set(names(tmp_path))
    assert Checkpoints(tmp_path).newest(toy.Told()).place.step == 1
    Checkpoints(tmp_path).go_back(0)
    assert Checkpoints(tmp_path).newest(toy.Told()) is None


def test_the_processor_is_that_of_an_intact_checkpoint(tmp_path):
    assert Checkpoints(tmp_path).processor() is None
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    assert Checkpoints(tmp_path).processor() == second / "processor"
    damage(second / "processor" / "processor.json")
    assert Checkpoints(tmp_path).processor() == first / "processor"


def measured(**values):
    return [
        Measurement(int(step[1:]), "validation", name, value, 1.0)
        for step, pairs in values.items()
        for name, value in pairs
    ]


def three_with_a_damaged_best(folder):
    save(folder, 1, is_branch=True)
    damage(save(folder, 2, is_best=True) / "model.safetensors")
    for step in (3, 4):
        save(folder, step, best_step=2)


def damage(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))


def test_a_damaged_best_gives_way_to_the_best_of_the_intact_ones(tmp_path):
    three_with_a_damaged_best(tmp_path)
    told = toy.Told()
    values = measured(
        s1=[("accuracy", 0.7), ("loss", 0.1)], s2=[("accuracy", 0.9)], s3=[("accuracy", 0.8), ("loss", 2.0)]
    )
    assert Checkpoints(tmp_path).best(values, told).name == "step_000003"
    assert told.has("step_000002", "damaged", "step_000003 takes its place", "best accuracy on validation, 0.8")
    assert Run(tmp_path).checkpoint("best").name == "step_000003"
    assert "damaged_step_000002" in names(tmp_path)
    assert Checkpoints(tmp_path).best(values, told).name == "step_000003"
    assert len(told.said) == 1


def test_less_may_be_better(tmp_path):
    three_with_a_damaged_best(tmp_path)
    values = measured(s1=[("nll", 0.4)], s3=[("nll", 0.3)], s4=[("nll", float("nan"))])
    assert Checkpoints(tmp_path).best(values, toy.Told()).name == "step_000003"


def test_a_damaged_best_without_validation_gives_way_to_the_newest(tmp_path):
    three_with_a_damaged_best(tmp_path)
    damage(tmp_path / "checkpoints" / "step_000004" / "model.safetensors")
    told = toy.Told()
    assert Checkpoints(tmp_path).best([], told).name == "step_000003"
    assert told.has("it is the newest")
    (tmp_path / "checkpoints" / "best.txt").write_text("step_000009\n")
    assert Checkpoints(tmp_path).best([], toy.Told()).name == "step_000003"
    for step in (1, 3):
        damage(tmp_path / "checkpoints" / f"step_00000{step}" / "model.safetensors")
    with pytest.raises(CheckpointError, match="No other checkpoint is intact"):
        Checkpoints(tmp_path).best([], toy.Told())


def test_none_undamaged_is_an_error_and_none_at_all_is_not(tmp_path):
    assert Checkpoints(tmp_path).newest(toy.Told()) is None
    (save(tmp_path, 1) / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="None of the 1 checkpoints"):
        Checkpoints(tmp_path).newest(toy.Told())


def test_what_a_killed_process_left_is_swept_away(tmp_path):
    save(tmp_path, 1)
    left = tmp_path / "checkpoints" / ".step_000002.123.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path).newest(toy.Told()).place.step == 1
    assert not left.exists()


def test_a_checkpoint_that_was_being_replaced_goes_back_to_its_place(tmp_path):
    save(tmp_path, 1, is_best=True)
    path = save(tmp_path, 2)
    path.rename(path.with_name(f".{path.name}.1234.old"))  # as a kill between two renames leaves it
    assert Checkpoints(tmp_path).newest(toy.Told()).place.step == 2
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, monkeypatch):
    run = Run.create(toy.recipe(), tmp_path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    from ouvroir.training import checkpoint

    write = checkpoint.write_tensors

    def fill_up(path, tensors):
        if "step_000020" in str(path):
            full()
        write(path, tensors)

    monkeypatch.setattr(checkpoint, "write_tensors", fill_up)
    with pytest.raises(DiskFull, match="disk that holds"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    assert names(run.path) == ["best.txt", "last.txt", "step_000010"]
    assert run.status()["state"] == "failed"
    monkeypatch.undo()
    whole = Run.create(toy.recipe(), tmp_path, name="whole")
    fit(toy.ToyTask(), whole, toy.prepared(), device="cpu")
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=True)
    assert toy.sha256_of(run.checkpoint("last")) == toy.sha256_of(whole.checkpoint("last"))


def test_the_words_of_the_system_come_through(tmp_path, monkeypatch):
    import safetensors
    import safetensors.torch

    def full(*args, **kwargs):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(DiskFull):
        save(tmp_path, 1)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_model_with_tied_weights_goes_on(tmp_path):
    class Tied(toy.ToyTask):
        def build_model(self, recipe, processor):
            model = super().build_model(recipe, processor)
            model.extra = nn.ModuleList([model.head])
            return model

    run = Run.create(toy.recipe(), tmp_path)
    fit(Tied(), run, toy.prepared(), device="cpu")
    model, _, _ = load_model(Tied(), run.checkpoint("last"))
    assert model.extra[0].weight is model.head.weight


def test_a_model_is_loaded_to_answer(tmp_path):
    run = Run.create(toy.recipe(optim={"ema": 0.9}), tmp_path)
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    before = torch.get_rng_state()
    model, processor, recipe = load_model(toy.ToyTask(), run.checkpoint("best"))
    assert torch.equal(before, torch.get_rng_state())
    assert not model.training
    assert processor.labels == ("0", "1", "2")
    assert recipe == run.recipe()
    table = toy.blobs(200, seed=5)
    right = model(table.points).argmax(1) == table.targets["labels"]
    assert right.float().mean() > 0.7
    with pytest.raises(DeviceError, match="no kind of device"):
        load_model(toy.ToyTask(), run.checkpoint("best"), device="tpu")
    with pytest.raises(CheckpointError, match="no checkpoint and no bundle"):
        load_model(toy.ToyTask(), tmp_path)


def test_a_state_that_lacks_something_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="lacks optimizer/w"):
        copy_state({"optimizer/w": torch.zeros(1)}, {}, tmp_path)
