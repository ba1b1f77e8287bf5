"""Spoken digits: the usual split, in which speakers are known, and each speaker left out in turn; beside cepstra and an SVM."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result

ARCHIVE = "fsdd/recordings.zip"
STEPS = 800  # of training, for each of the seven models
SETTINGS = {"loop.steps": STEPS, "data.validation": 0.05}


def unpack(folder: Path) -> list[tuple[str, str, str, int]]:
    """All recordings as files: (path, digit, speaker, take)."""
    found = []
    folder.mkdir()
    with zipfile.ZipFile(datasets.shared_data() / ARCHIVE) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".wav"):
                short = name.rsplit("/", 1)[-1]
                (folder / short).write_bytes(archive.read(name))
                digit, speaker, take = short[:-4].split("_")
                found.append((str(folder / short), digit, speaker, int(take)))
    return found


def write_table(path: Path, rows: list[tuple[str, str, str, int]], is_test: np.ndarray) -> Path:
    """A table that says which recordings are the test."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "split"])
        writer.writerows([row[0], row[1], "test" if mine else "train"] for row, mine in zip(rows, is_test, strict=True))
    return path


def measure(options: Options) -> Result:
    """Accuracy on the usual split and on each new speaker, and the seconds that each training took."""
    import ouvroir

    result = Result(
        name="sounds",
        title="Spoken digits",
        about=(
            "Free Spoken Digit Dataset, 3,000 recordings of 6 speakers at 8 kHz. The usual split (takes 0 to 4 are the test), "
            "where all speakers are known, and each speaker left out in turn. `ouvroir train` with the proposed recipe and "
            f"{STEPS} steps of training each, two cores. Beside it an SVM on means and deviations of cepstra (scikit-learn)."
        ),
        spread="95 % interval (Wilson)",
        seeds=[0],
        settings=SETTINGS,
    )
    with harness.workplace() as place:
        rows = unpack(place / "recordings")
        features = np.stack([cepstra(row[0]) for row in rows])
        digits = np.array([int(row[1]) for row in rows])
        speakers = np.array([row[2] for row in rows])
        tests = {"usual split": np.array([row[3] < 5 for row in rows])}
        tests |= {f"new speaker {name}": speakers == name for name in sorted(set(speakers))}
        if options.is_quick:
            tests = dict(list(tests.items())[:2])
        ours, svm, seconds = {}, {}, []
        for name, is_test in tests.items():
            table = write_table(place / f"{name}.csv", rows, is_test)
            settings: dict[str, Any] = {"loop.steps": 3} if options.is_quick else SETTINGS
            start = time.perf_counter()
            run = ouvroir.train(table, settings=settings, runs=place / "runs")
            seconds.append(time.perf_counter() - start)
            judged = ouvroir.evaluate(run.path, table, split="test").judgement
            ours[name] = 100 * judged.metrics["accuracy"].value
            svm[name] = 100 * _svm(features, digits, is_test)
            goal = {"at_least": 98.5} if name == "usual split" else {}
            result.add(name, ours[name], "% right", n=int(is_test.sum()), **goal)
            result.add(f"{name}, SVM on cepstra", svm[name], "% right", n=int(is_test.sum()))
        new = [value for name, value in ours.items() if name != "usual split"]
        result.add("new speakers, mean", float(np.mean(new)), "% right", n=len(rows), at_least=88)
        result.add("new speakers, worst", min(new), "% right", n=500, at_least=75)
        result.add("packing, training and judging one model", float(np.median(seconds)), "s", n=len(seconds))
    return result


def cepstra(path: str) -> np.ndarray:
    """(80,) means and deviations over time of 20 cepstra and of their changes."""
    import wave

    with wave.open(io.BytesIO(Path(path).read_bytes())) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    size, hop, n_bands, rate = 256, 80, 40, 8_000
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), n_bands + 2) / 2595) - 1)
    at = np.arange(size // 2 + 1) * rate / size
    up = (at[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at[:, None]) / (edges[2:] - edges[1:-1])
    bands = np.log(power @ np.maximum(0, np.minimum(up, down)) + 1.0)
    turn = np.cos(np.pi * np.arange(20)[:, None] * (np.arange(n_bands) + 0.5) / n_bands)
    found = bands @ turn.T
    change = np.diff(found, axis=0, prepend=found[:1])
    return np.concatenate([part for one in (found, change) for part in (one.mean(axis=0), one.std(axis=0))])


def _svm(features: np.ndarray, digits: np.ndarray, is_test: np.ndarray) -> float:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = make_pipeline(StandardScaler(), SVC(C=10.0)).fit(features[~is_test], digits[~is_test])
    return float((model.predict(features[is_test]) == digits[is_test]).mean())


if __name__ == "__main__":
    harness.run(measure)
