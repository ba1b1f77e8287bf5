"""Small real sets of pictures to try things on, written as ordinary files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_digits(folder: Path, *, n_pictures: int | None = None) -> int:
    """Write the handwritten digits of scikit-learn, 1,797 real 8x8 scans, as PNG files in folders 0 to 9.

    Names are `digit_0001.png` and so on in the order of the set, so a repeated call writes the same files. `n_pictures`
    takes the first so many. Returns the number of files. Source: Alpaydin and Kaynak 1998, Optical Recognition of
    Handwritten Digits, UCI (CC BY 4.0).
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    n_pictures = min(n_pictures or len(digits.target), len(digits.target))
    for label in range(10):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for number in range(n_pictures):
        pixels = np.rint(digits.images[number] * (255 / 16)).astype(np.uint8)  # values of the set are 0 to 16
        path = folder / str(digits.target[number]) / f"digit_{number + 1:04d}.png"
        Image.fromarray(pixels).save(path)
    return n_pictures
