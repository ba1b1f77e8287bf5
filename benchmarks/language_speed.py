"""Language models: how fast they learn beside a plain loop and beside the Trainer of transformers, and how fast they write."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Options, Result, Steps
from benchmarks.language import CHARACTERS, opened, split
from ouvroir.training.optim import rate

ROUNDS, SECONDS, WARMUP = 5, 15.0, 5
LEAST, TIMES_TRAINER, TIMES_CACHED = 0.97, 1.5, 5.0
NEW_PIECES = 256


def measure(options: Options) -> Result:
    """Both networks beside a plain loop, the Transformer beside the Trainer at two sizes, and writing."""
    result = Result(
        name="language_speed",
        title="Language models, speed",
        about=(
            "Tiny Shakespeare by characters, batches of 16 windows of 128, two threads, single precision, AdamW; starts and ends "
            "not counted. The plain loop: the same network, losses and dropout. The Trainer: a Llama of the same shape, fed from "
            "the same windows; beside it ours has no dropout and no loss of entropy either."
        ),
        spread="lowest and highest of the rounds",
        seeds=[0],
        settings={"rounds": 1 if options.is_quick else ROUNDS, **CHARACTERS},
    )
    with harness.workplace() as folder:
        data = split(folder / "shakespeare")
        for network in ("lstm", "transformer"):
            speed(result, data, folder, network, is_quick=options.is_quick)
        for preset in ("tiny", "small"):
            beside_trainer(result, data, folder, preset, is_quick=options.is_quick)
        cached(result, is_quick=options.is_quick)
    return result


class Ours:
    """Ouvroir's loop on the real pack."""

    def __init__(self, data: Path, folder: Path, network: str, preset: str = "small", **more: Any) -> None:
        settings = {**CHARACTERS, "options.network": network, "loop.precision": "fp32", "loop.layout": "contiguous"}
        self.task, recipe, self.prepared = opened(data, {**settings, "loop.threads": 2, **more}, preset)
        recipe = recipe.replace("loop", micro_batch=recipe.loop.batch_size)
        self.recipe = recipe.replace("optim", name="adamw", lr=1e-3)  # as the Trainer has it, for equal steps
        self.folder, self.table = folder, self.prepared.tables["train"]
        self.batch, self.context = recipe.loop.batch_size, self.prepared.processor.context

    def rate(self, n_steps: int) -> float:
        """Pieces per second after the warm-up."""
        from ouvroir.run import Run
        from ouvroir.training.course import Prepared
        from ouvroir.training.loop import fit

        recipe = self.recipe.replace("loop", steps=n_steps, evaluate_every=n_steps, save_every=n_steps)
        run = Run.create(recipe, self.folder / "runs")
        steps = Steps(WARMUP)
        data = Prepared(self.prepared.processor, {"train": self.table})
        fit(self.task, run, data, device="cpu", progress=harness.StepProgress(steps, "train"))
        return steps.rate(self.batch) * self.context

    def network(self) -> Any:
        """With initial weights."""
        torch.set_num_threads(2)
        torch.manual_seed(0)
        return self.task.build_model(self.recipe, self.prepared.processor).train()

    def windows(self) -> torch.Tensor:
        """(M, context + 1): all full windows of the train rows."""
        from ouvroir.data.loader import take

        items = self.task.items(self.table, self.prepared.processor, training=True)
        full = np.flatnonzero(items.length == self.context + 1)
        found: torch.Tensor = self.task.collate(take(self.table, items, full))["pieces"]
        return found


def plain(ours: Ours, n_steps: int) -> float:
    """Pieces per second of thirty lines that train the same network on the same windows, with the same losses and dropout."""
    from ouvroir.rng import Rng

    model, recipe, windows = ours.network(), ours.recipe, ours.windows()
    params = list(model.parameters())
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=recipe.optim.weight_decay, fused=True)
    order = torch.randperm(len(windows))
    zero, length = torch.zeros(ours.batch, dtype=torch.int64), torch.full((ours.batch,), ours.context + 1)
    steps = Steps(WARMUP)
    for step in range(n_steps):
        rows = order[(step * ours.batch) % (len(order) - ours.batch) :][: ours.batch]
        batch = {"pieces": windows[rows], "lengths": length, "lead": zero, "is_full": True}
        out = ours.task.step(model, batch, recipe, rng=Rng(0, step, torch.arange(ours.batch)), training=True)
        losses = list(out.losses.values())
        loss = sum(one.per_row.sum() for one in losses) / losses[0].n_items.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.param_groups[0]["lr"] = rate(recipe.optim, step, n_steps)
        optimizer.step()
        steps.tick()
    return steps.rate(ours.batch) * ours.context


def by_trainer(ours: Ours, n_steps: int) -> float:
    """Pieces per second of transformers.Trainer on a Llama of the same shape, fed from the same windows."""
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(2)
    shape = ours.network().shape
    config = LlamaConfig(
        vocab_size=ours.prepared.processor.tokenizer.n,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        max_position_embeddings=ours.context,
        tie_word_embeddings=True,
    )
    windows = ours.windows()[:, :-1]
    rows = [{"input_ids": one, "labels": one} for one in windows]
    steps = Steps(WARMUP)

    class Ticks(TrainerCallback):
        """Tells the clock of each step."""

        def on_step_end(self, *given: Any, **more: Any) -> None:
            """One more."""
            steps.tick()

    arguments = TrainingArguments(
        output_dir=str(ours.folder / "trainer"),
        max_steps=n_steps,
        per_device_train_batch_size=ours.batch,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(model=LlamaForCausalLM(config), args=arguments, train_dataset=rows, callbacks=[Ticks()]).train()  # type: ignore[arg-type]
    return steps.rate(ours.batch) * ours.context


def speed(result: Result, data: Path, folder: Path, network: str, *, is_quick: bool) -> None:
    """Beside a plain loop over the same network."""
    side_by_side(result, Ours(data, folder, network), network, "plain loop", plain, LEAST, is_quick=is_quick)


def beside_trainer(result: Result, data: Path, folder: Path, preset: str, *, is_quick: bool) -> None:
    """Beside the Trainer; without dropout and the loss of entropy, which its model does not have either."""
    ours = Ours(data, folder, "transformer", preset, **{"options.dropout": 0, "constants.zeta": "off"})
    what = f"transformer as Llama, {preset}"
    side_by_side(result, ours, what, "transformers.Trainer", by_trainer, TIMES_TRAINER, is_quick=is_quick)


def side_by_side(
    result: Result,
    ours: Ours,
    what: str,
    name: str,
    other: Callable[[Ours, int], float],
    least: float,
    *,
    is_quick: bool,
) -> None:
    """Pieces per second of ours and of the other, by turns, and their ratio."""
    seconds, rounds = (1.0, 1) if is_quick else (SECONDS, ROUNDS)
    guess = ours.rate(WARMUP + 10)
    n_steps = WARMUP + max(10, round(guess / ours.context * seconds / ours.batch))
    rates = harness.alternate({"Ouvroir": partial(ours.rate, n_steps), name: partial(other, ours, n_steps)}, rounds)
    for side, values in rates.items():
        result.add(f"{what}: {side}", harness.Spread.of(values), "pieces/s")
    found = harness.ratio(rates["Ouvroir"], rates[name])
    result.add(f"{what}: Ouvroir / {name}", found, "times", at_least=least)


def cached(result: Result, *, is_quick: bool) -> None:
    """Writing 256 pieces, each from what is kept of those before it, and each from all of them anew."""
    from ouvroir.media.text.transformer import Decoder, Shape

    torch.set_num_threads(2)
    torch.manual_seed(0)
    sizes = np.ones((2, 2000), dtype=np.int64)
    shape = Shape(192, 4, 6, 1.618)
    model = Decoder(sizes=sizes, n_classes=0, shape=shape, context=512, scale=1.0, pi=None).eval()
    n = 32 if is_quick else NEW_PIECES

    @torch.no_grad()
    def kept() -> float:
        start, line, memory = time.perf_counter(), torch.full((1, 1), 5), None
        for _ in range(n):
            logits, memory = model.after(line, None, memory)
            line = logits.argmax(dim=1, keepdim=True)
        return n / (time.perf_counter() - start)

    @torch.no_grad()
    def anew() -> float:
        start, line = time.perf_counter(), torch.full((1, 1), 5)
        for _ in range(n):
            logits, _ = model.after(line, None, None)
            line = torch.cat([line, logits.argmax(dim=1, keepdim=True)], dim=1)
        return n / (time.perf_counter() - start)

    rates = harness.alternate({"kept": kept, "anew": anew}, 1 if is_quick else ROUNDS)
    result.add("writing, keys and values kept", harness.Spread.of(rates["kept"]), "pieces/s")
    result.add("writing, all worked out anew", harness.Spread.of(rates["anew"]), "pieces/s")
    found = harness.ratio(rates["kept"], rates["anew"])
    result.add(f"writing {n} pieces, kept / anew", found, "times", at_least=None if is_quick else TIMES_CACHED)


if __name__ == "__main__":
    harness.run(measure)
