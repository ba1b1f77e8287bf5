"""Small pictures and tables made in code, and the shared data sets where there are any."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def shared_data() -> Path:
    folder = os.environ.get("OUVROIR_TEST_DATA")
    if not folder:
        pytest.skip("OUVROIR_TEST_DATA does not name the shared data sets")
    return Path(folder)


@pytest.fixture
def pictures():
    """(12, 16, 16, 3) uint8 in channels-last order, different in every row."""
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
