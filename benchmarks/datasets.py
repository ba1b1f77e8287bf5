"""The pictures that the benchmarks use: MNIST digits and clothes as files, and smooth made-up pictures in any number."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

MNIST_TRAIN = 8000  # of 10,000; the last 2,000 are the test
CLOTHING = "clothing10/clothing10_224.zip"


def shared_data() -> Path:
    """The folder of the shared data sets."""
    place = os.environ.get("OUVROIR_TEST_DATA", "")
    if not place or not Path(place).is_dir():
        raise SystemExit(
            "Set OUVROIR_TEST_DATA to the folder of the data sets (mnist, clothing10), then run this again."
        )
    return Path(place)


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """(10000, 28, 28) uint8 pictures and (10000,) int64 digits, in the order of the file."""
    folder = shared_data() / "mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        digits = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return pictures, digits


def write_mnist(folder: Path, *, n_train: int = MNIST_TRAIN, n_test: int = 0) -> Path:
    """MNIST as PNG files in class folders; with `n_test`, below train/ and test/, the last rows being the test."""
    pictures, digits = mnist()
    chosen = [("train" if n_test else "", range(n_train))]
    chosen += [("test", range(len(pictures) - n_test, len(pictures)))] if n_test else []
    for split, places in chosen:
        for digit in range(10):
            (folder / split / str(digit)).mkdir(parents=True, exist_ok=True)
        for place in places:
            Image.fromarray(pictures[place]).save(folder / split / str(digits[place]) / f"{place:05d}.png")
    return folder


def clothing_zip() -> Path:
    """The archive of clothes with its own train, validation and test folders."""
    return shared_data() / CLOTHING


def write_clothing(folder: Path, *, px: int, n: int, suffix: str = "png") -> Path:
    """The first `n` clothes of the train split, evenly over the archive, squeezed to px x px, in class folders."""
    with zipfile.ZipFile(clothing_zip()) as archive:
        names = [name for name in archive.namelist() if name.startswith("train/") and not name.endswith("/")]
        for place in np.linspace(0, len(names) - 1, min(n, len(names)), dtype=int):
            _, label, name = names[place].split("/")
            (folder / label).mkdir(parents=True, exist_ok=True)
            picture = Image.open(io.BytesIO(archive.read(names[place]))).convert("RGB").resize((px, px))
            picture.save(folder / label / f"{Path(name).stem}.{suffix}", quality=90)
    return folder


def write_few_clothes(path: Path) -> Path:
    """A zip of a few pictures of three classes of every split, for smoke runs."""
    with zipfile.ZipFile(clothing_zip()) as archive, zipfile.ZipFile(path, "w") as few:
        taken: dict[str, int] = {}
        for name in archive.namelist():
            folder = name.rpartition("/")[0]
            if folder.partition("/")[2] in ("hat", "dress", "shoes") and not name.endswith("/"):
                taken[folder] = taken.get(folder, 0) + 1
                if taken[folder] <= 12:
                    few.writestr(name, archive.read(name))
    return path


def write_smooth(folder: Path, *, n: int, px: int = 128, n_classes: int = 10, workers: int = 2) -> Path:
    """`n` distinct JPEG files of smooth random colours in `n_classes` folders, made by worker processes."""
    for label in range(n_classes):
        (folder / f"class_{label}").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        pieces = [(folder, start, min(start + 1000, n), px, n_classes) for start in range(0, n, 1000)]
        list(pool.map(_write_smooth, *zip(*pieces, strict=True)))
    return folder


def _write_smooth(folder: Path, start: int, stop: int, px: int, n_classes: int) -> None:
    rng = np.random.default_rng(start)
    for place in range(start, stop):
        label = place % n_classes
        edge = 4 + label  # classes differ in how coarse the field is
        field = rng.integers(0, 256, (edge, edge, 3), dtype=np.uint8)
        picture = Image.fromarray(field).resize((px, px), Image.Resampling.BICUBIC)
        picture.save(folder / f"class_{label}" / f"{place:06d}.jpg", quality=80)


def files_of(folder: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """The picture files of class folders, their class numbers (N,) int64 and the class names, sorted."""
    labels = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [(path, number) for number, label in enumerate(labels) for path in sorted((folder / label).iterdir())]
    return [path for path, _ in files], np.array([number for _, number in files], dtype=np.int64), labels
