"""Cheap ways to classify texts: the same model in fewer dimensions."""

import numpy as np
import pytest
from scipy.sparse import random as random_sparse

from ouvroir.media.text import baselines


def test_the_model_in_the_directions_of_the_texts_is_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    known = random_sparse(60, baselines.N_BUCKETS, density=0.001, rng=rng, format="csr")
    known.data += 0.1
    asked = random_sparse(40, baselines.N_BUCKETS, density=0.001, rng=rng, format="csr") + known[:40]
    wanted = np.arange(60) % 3
    found = baselines._linear(known, wanted, asked, 3)
    monkeypatch.setattr(baselines, "MOST_TURNED", 0)
    want = baselines._linear(known, wanted, asked, 3)
    assert np.ptp(want) > 0.3  # which says something
    assert found == pytest.approx(want, abs=0.01)
    inner, outer = baselines.turned(known, asked)
    assert inner.shape[1] == outer.shape[1] <= 60
    assert inner @ outer.T == pytest.approx((known @ asked.T).toarray(), abs=1e-6)
