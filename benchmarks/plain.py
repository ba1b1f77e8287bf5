"""The usual ways to train, set up as their users would and with everything needless switched off.

`pil_loader` is the tutorial: a Dataset that opens, converts and normalises one picture at a time. Lightning and the
Trainer of transformers get better: the normalised pictures as one tensor in memory. All of them minimise the plain
cross-entropy with the same fused AdamW.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.harness import Steps

MEAN, STD = 127.5, 64.0  # of pixels, as benchmarks.networks.FromPixels
LR = 1e-3
WEIGHT_DECAY = 0.01

Augment = Callable[[Image.Image], Image.Image]


class PilPictures(Dataset):
    """One picture at a time: open, convert, augment, resize, to a float tensor, normalise."""

    def __init__(
        self, files: list[Path], labels: np.ndarray, *, px: int, mode: str, augment: Augment | None = None
    ) -> None:
        self.files, self.labels, self.px, self.mode, self.augment = files, labels, px, mode, augment

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """(C, px, px) float32 and the class number."""
        picture = Image.open(self.files[place]).convert(self.mode)
        if self.augment is not None:
            picture = self.augment(picture)
        if picture.size != (self.px, self.px):
            picture = picture.resize((self.px, self.px), Image.Resampling.BILINEAR)
        return to_tensor(picture), int(self.labels[place])


def to_tensor(picture: Image.Image) -> Tensor:
    """(C, H, W) float32, normalised: what ToTensor and Normalize do, in numpy."""
    pixels = (np.asarray(picture, dtype=np.float32) - MEAN) / STD
    if pixels.ndim == 2:
        return torch.from_numpy(pixels)[None]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


class Rows(Dataset):
    """Pictures in memory as the dictionaries that the Trainer takes."""

    def __init__(self, pictures: Tensor, labels: Tensor) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pictures[place], "labels": self.labels[place]}


def in_memory(data: PilPictures) -> tuple[Tensor, Tensor]:
    """All pictures (N, C, H, W) float32 and labels (N,) int64 of a data set."""
    rows = [data[place] for place in range(len(data))]
    return torch.stack([picture for picture, _ in rows]), torch.tensor([label for _, label in rows])


def loader(data: Dataset, batch_size: int, n_workers: int) -> DataLoader:
    """A shuffled DataLoader whose workers stay from epoch to epoch."""
    return DataLoader(
        data,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
    )


def endlessly(batches: DataLoader) -> Iterator[Any]:
    """One epoch after another."""
    while True:
        yield from batches


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all sides."""
    return torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)


def train_plainly(
    network: nn.Module, data: Dataset, batch_size: int, n_workers: int, n_steps: int, steps: Steps
) -> None:
    """The tutorial's loop."""
    optimizer = adamw(network)
    network.train()
    batches = endlessly(loader(data, batch_size, n_workers))
    for _ in range(n_steps):
        pictures, labels = next(batches)
        loss = functional.cross_entropy(network(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.tick()


def train_with_lightning(
    network: nn.Module, data: Dataset, batch_size: int, n_workers: int, n_steps: int, steps: Steps
) -> None:
    """Lightning with `barebones=True`: no logging, checkpoints, progress bar or sanity check."""
    import lightning

    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: tuple[Tensor, Tensor], _number: int) -> Tensor:
            return functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adamw(self.network)

        def on_train_batch_end(self, *_: Any) -> None:
            steps.tick()

    trainer = lightning.Trainer(accelerator="cpu", devices=1, max_steps=n_steps, max_epochs=-1, barebones=True)
    trainer.fit(Module(), loader(data, batch_size, n_workers))


def train_with_trainer(
    network: nn.Module, data: Dataset, batch_size: int, n_workers: int, n_steps: int, steps: Steps
) -> None:
    """The Trainer of transformers without logging, checkpoints, clipping or progress bar."""
    import transformers

    transformers.logging.set_verbosity_error()

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.network(pixel_values)
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    class Ticks(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            steps.tick()

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=n_steps,
            per_device_train_batch_size=batch_size,
            learning_rate=LR,
            weight_decay=WEIGHT_DECAY,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            max_grad_norm=0.0,
            use_cpu=True,
            dataloader_num_workers=n_workers,
            dataloader_persistent_workers=n_workers > 0,
            dataloader_pin_memory=False,
            dataloader_drop_last=True,
            remove_unused_columns=False,
            report_to="none",
            logging_strategy="no",
            logging_nan_inf_filter=False,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(model=WithLoss(), args=arguments, train_dataset=data, callbacks=[Ticks()])
        trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
        trainer.train()


def tensors(data: PilPictures) -> tuple[TensorDataset, Rows]:
    """A data set in memory, in the forms that Lightning and the Trainer take."""
    pictures, labels = in_memory(data)
    return TensorDataset(pictures, labels), Rows(pictures, labels)
