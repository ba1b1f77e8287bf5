"""Who got which item right: two ways to train, 40 seeds each, on the same unseen digits, kept as bits.

`python tests/evaluation/stored_answers.py` trains and writes them anew (some minutes): tiny networks on 10 digits of each class,
with the usual moves of pictures in training ("ordinary") and without any ("plain").
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("stored_answers.npz")
N_SEEDS = 40


def load():
    """`ordinary` and `plain`: (40, N) float64 of 0 and 1."""
    with np.load(STORE) as stored:
        n = int(stored["n_items"])
        return {name: np.unpackbits(stored[name], axis=1)[:, :n].astype(float) for name in ("ordinary", "plain")}


def main():
    """Train, and write the bits."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import ouvroir
    import pictures
    from ouvroir import trials
    from ouvroir.arms import Arm, settings_arm
    from ouvroir.ground import Ground
    from ouvroir.options import Workplace
    from ouvroir.verdicts import Plan, Tables

    with tempfile.TemporaryDirectory() as place:
        os.environ["OUVROIR_HOME"] = f"{place}/home"
        folder = pictures.write_digits(Path(place) / "digits", per_class=170, classes="0123456789")
        settings = {
            "loop.steps": 200,
            "loop.precision": "fp32",
            "loop.layout": "contiguous",
            "loop.threads": 1,
            "loop.micro_batch": 32,
            "loop.batch_size": 32,
            "data.per_class": 10,
        }
        run = ouvroir.train(folder, preset="tiny", settings=settings, runs=Path(place) / "runs")
        arms = [Arm("usual", "", lambda way: way), replace(settings_arm({"options.augment": "never"}), name="plain")]
        ground = Ground.of(run)
        trials.try_out(ground, arms, Workplace(), name="stored", seeds=N_SEEDS, steps=200)
        ground.crew.close()
        folder = run.path / "trial" / "stored"
        tables = Tables(folder, Plan.read(folder))
        found = {"ordinary": tables.right("usual"), "plain": tables.right("plain")}
    n_items = found["ordinary"].shape[1]
    np.savez_compressed(
        STORE, n_items=n_items, **{name: np.packbits(table.astype(np.uint8), axis=1) for name, table in found.items()}
    )


if __name__ == "__main__":
    main()
