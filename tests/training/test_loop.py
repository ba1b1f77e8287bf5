"""What a training leaves behind, and how it ends."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from ouvroir.errors import DataError, NonFiniteLoss, RecipeError, TrainingError
from ouvroir.run import Run
from ouvroir.training.checkpoint import load_model, read_weights
from ouvroir.training.course import Prepared
from ouvroir.training.loop import fit


def trained(folder, data=None, told=None, task=None, **settings):
    run = Run.create(toy.recipe(**settings), folder)
    fitted = fit(task or toy.ToyTask(), run, data or toy.prepared(), device="cpu", progress=told or toy.Told())
    return run, fitted


def test_it_learns_and_tells(tmp_path):
    run, fitted = trained(tmp_path, steps=200, evaluate_every=50)
    assert (fitted.steps, fitted.stopped) == (200, "finished")
    metrics = run.metrics()
    losses = [m.value for m in metrics if (m.split, m.name) == ("train", "loss")]
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    accuracy = {m.step: m.value for m in metrics if (m.split, m.name) == ("validation", "accuracy")}
    assert list(accuracy) == [50, 100, 150, 200]
    assert max(accuracy.values()) > 0.8
    assert accuracy[fitted.best_step] == max(accuracy.values())
    assert run.checkpoint("best").name == f"step_{fitted.best_step:06d}"
    assert run.read_json("status.json")["sentence"] == "Trained for 200 steps."
    assert list((run.path / "tensorboard").iterdir())
    assert 0 < fitted.seconds < 60


def test_the_first_losses_are_those_of_a_plain_loop(tmp_path):
    """The same model, rows and optimiser in ten lines of plain torch."""
    data = toy.prepared()
    run, _ = trained(tmp_path, data, steps=20, optim={"weight_decay": 0.0, "ema": 0.9})
    from ouvroir.data.loader import Sampler
    from ouvroir.rng import key
    from ouvroir.training.optim import rate

    recipe, table = run.recipe(), data.tables["train"]
    torch.manual_seed(key(0, "model") >> 1)
    model = toy.ToyTask().build_model(recipe, data.processor)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    sampler = Sampler(toy.ToyTask().items(table, None, training=True), seed=0, batch_size=16)
    for step in range(20):
        places = torch.from_numpy(sampler.draw(step))
        loss = torch.nn.functional.cross_entropy(model(table.points[places]), table.targets["labels"][places])
        optimizer.param_groups[0]["lr"] = rate(recipe.optim, step, 20)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in model.state_dict().items()}
        told = next(m.value for m in run.metrics() if (m.step, m.name) == (step + 1, "loss"))
        assert told == pytest.approx(loss.item(), rel=1e-4)
    kept = read_weights(run.checkpoint("last"))
    assert all(torch.allclose(kept[name], average[name], atol=1e-5) for name in average)


def test_weights_of_rows_count(tmp_path):
    """A row of weight 2 is a row that is there twice; one of weight 0 is not there."""
    table = toy.blobs(32)
    rows = np.arange(32)
    weight = np.where(rows < 8, 2.0, np.where(rows < 16, 0.0, 1.0))
    weighted = toy.ToyTable(table.points.numpy(), table.targets["labels"].numpy(), weight)
    repeated = table.subset(np.concatenate([rows[:8], rows[:8], rows[16:]]))
    processor = toy.prepared().processor
    found = []
    for n, one in enumerate((weighted, repeated)):
        run = Run.create(toy.recipe(steps=5, batch_size=32, micro_batch=32), tmp_path, name=str(n))
        fit(toy.ToyTask(), run, Prepared(processor, {"train": one}), device="cpu")
        found.append(read_weights(run.checkpoint("last")))
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


def test_the_average_is_judged_and_kept(tmp_path):
    run, _ = trained(tmp_path, optim={"ema": 0.95})
    state = load_model(toy.ToyTask(), run.checkpoint("last"))[0].state_dict()
    from ouvroir.training.checkpoint import read_checkpoint

    saved = read_checkpoint(run.checkpoint("last"))
    assert all(torch.equal(state[name], saved.average[name]) for name in state)
    assert any(not torch.equal(state[name], saved.weights[name]) for name in state)


def test_without_validation_the_last_is_the_best(tmp_path):
    run, fitted = trained(tmp_path, toy.prepared(validation=0))
    assert fitted.best_step == 30
    assert run.checkpoint("best") == run.checkpoint("last")
    assert {m.split for m in run.metrics()} == {"train"}


def test_it_stops_early_without_gains(tmp_path):
    told = toy.Told()
    run, fitted = trained(tmp_path, told=told, optim={"lr": 1e-12}, steps=100, evaluate_every=5, patience=3)
    assert fitted.stopped == "early"
    assert (fitted.steps, fitted.best_step) == (20, 5)
    assert told.has("Stopped early at step 20", "since step 5")
    assert run.checkpoint("best").name == "step_000005"
    again = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=True)
    assert (again.stopped, again.steps) == ("early", 20)


def test_a_branch_is_kept(tmp_path):
    run, _ = trained(tmp_path, steps=40, branch_at=0.3, save_every=5)
    assert run.checkpoint("branch").name == "step_000012"
    assert run.checkpoint("branch").is_dir()


class Poisoned(toy.ToyTask):
    """Row 13 gives NaN once training is under way."""

    def step(self, model, batch, recipe, *, rng, training):
        output = super().step(model, batch, recipe, rng=rng, training=training)
        if training and rng.step >= 12:
            losses = output.losses["loss"]
            bad = (batch["index"] == 13) | (batch["index"] == 14)
            per_row = torch.where(bad, losses.per_row * float("nan"), losses.per_row)
            output = dataclasses.replace(output, losses={"loss": dataclasses.replace(losses, per_row=per_row)})
        return output


@pytest.mark.parametrize("exact", [False, True])
def test_a_loss_that_is_no_number_stops_and_names_its_rows(tmp_path, exact):
    run = Run.create(toy.recipe(steps=100, save_every=10, batch_size=96, micro_batch=24, exact=exact), tmp_path)
    with pytest.raises(
        NonFiniteLoss, match=r"NaN or infinite at step 13\..*step 10\) is kept.*row13, row14\."
    ) as caught:
        fit(Poisoned(), run, toy.prepared(), device="cpu")
    assert caught.value.rows == ["row13", "row14"]
    assert run.status()["state"] == "failed"
    assert run.checkpoint("last").name == "step_000010"
    assert all(torch.isfinite(value).all() for value in read_weights(run.checkpoint("last")).values())


def test_a_run_that_diverges_names_the_whole_batch(tmp_path):
    class Diverging(toy.ToyTask):
        def step(self, model, batch, recipe, *, rng, training):
            output = super().step(model, batch, recipe, rng=rng, training=training)
            if training and rng.step == 5:
                model.head.weight.register_hook(lambda grad: grad * float("inf"))
            return output

    run = Run.create(toy.recipe(), tmp_path)
    with pytest.raises(NonFiniteLoss, match="and 6 more") as caught:
        fit(Diverging(), run, toy.prepared(), device="cpu")
    assert len(caught.value.rows) == 16


def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    import signal

    class Impatient(toy.ToyTask):
        def step(self, model, batch, recipe, *, rng, training):
            if training and rng.step == 6:
                signal.raise_signal(signal.SIGINT)
            return super().step(model, batch, recipe, rng=rng, training=training)

    told = toy.Told()
    handler = signal.getsignal(signal.SIGINT)
    run, fitted = trained(tmp_path, task=Impatient(), told=told)
    assert (fitted.stopped, fitted.steps) == ("interrupted", 7)
    assert run.checkpoint("last").name == "step_000007"
    assert run.status()["state"] == "stopped"
    assert told.has("Stopped after step 7 of 30", f"--resume {run.path}")
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    import signal

    class Angry(toy.ToyTask):
        def step(self, model, batch, recipe, *, rng, training):
            if training and rng.step == 6:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            return super().step(model, batch, recipe, rng=rng, training=training)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, task=Angry())


def test_training_twice_without_resume_is_refused(tmp_path):
    run, _ = trained(tmp_path)
    with pytest.raises(TrainingError, match="has been trained already"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")


def test_nothing_to_learn_from_is_said(tmp_path):
    run = Run.create(toy.recipe(), tmp_path)
    with pytest.raises(DataError, match="no train rows"):
        fit(toy.ToyTask(), run, Prepared(toy.prepared().processor, {}), device="cpu")
    run = Run.create(toy.recipe().replace("model", scope="tail"), tmp_path, name="scope")
    with pytest.raises(RecipeError, match="body, middle, head"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")


def test_a_batch_larger_than_the_data_and_odd_sizes(tmp_path):
    run, fitted = trained(tmp_path, toy.prepared(n=5), batch_size=37, micro_batch=10, steps=3)
    assert fitted.steps == 3
    run = Run.create(toy.recipe(batch_size=2, micro_batch=2, steps=3), tmp_path, name="tiny")
    assert fit(toy.ToyTask(), run, toy.prepared(n=1), device="cpu").steps == 3


@pytest.mark.parametrize("name", ["adam", "sgd", "muon"])
def test_other_optimisers_learn(tmp_path, name):
    run, _ = trained(
        tmp_path, steps=100, evaluate_every=100, optim={"name": name, "lr": 0.1 if name == "sgd" else 0.01}
    )
    assert max(m.value for m in run.metrics() if m.name == "accuracy") > 0.7


def test_recomputed_activations_change_nothing(tmp_path):
    options = toy.Options(net="layernorm", dropout=0.2)
    one = Run.create(toy.recipe(options=options, optim={"ema": 0.9}), tmp_path, name="one")
    two = Run.create(
        toy.recipe(options=options, optim={"ema": 0.9}, activation_checkpointing=True), tmp_path, name="two"
    )
    for run in (one, two):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    assert toy.sha256_of(one.checkpoint("best")) == toy.sha256_of(two.checkpoint("best"))
