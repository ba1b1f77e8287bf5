"""φ, π, 1/137 and −1/12: value, the documented use of each in classifiers, and the ordinary value beside it.

They are part of the models by the wish of the people Ouvroir is made for. Each is a switch of the recipe
(`--set constants.phi=ordinary`), and what each brings is measured, never claimed (docs/concepts/constants.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """One constant: `value` is used unless the recipe says otherwise, `ordinary` is what most models use."""

    name: str
    symbol: str
    value: float
    ordinary: float | None
    use: str
    source: str


PHI = Constant(
    name="phi",
    symbol="φ",
    value=(1 + math.sqrt(5)) / 2,
    ordinary=2.0,
    use="Hidden widths of the head fall by this ratio: w, w/φ, w/φ².",
    source="The golden ratio; Euclid, Elements VI, definition 3. Ordinary: halving, as in many classifiers.",
)
PI = Constant(
    name="pi",
    symbol="π",
    value=math.pi,
    ordinary=None,
    use=(
        "Temperature of attention: queries and keys have unit length and logits are q·k·√d/π; in language models these are as "
        "they are, and logits q·k/π."
    ),
    source="Archimedes, Measurement of a Circle. Ordinary: q·k/√d on queries and keys as they are, Vaswani 2017, eq. 1.",
)
ALPHA = Constant(
    name="alpha",
    symbol="1/137",
    value=1 / 137,
    ordinary=1e-4,
    use="Initial scale of each residual branch (LayerScale).",
    source="About the fine-structure constant (1/137.036, CODATA 2022). Ordinary: 1e-4, Touvron 2021, CaiT, table 1.",
)
ZETA = Constant(
    name="zeta",
    symbol="−1/12",
    value=-1 / 12,
    ordinary=0.0,
    use="Coefficient on the entropy of predictions in the loss: CE − H(p)/12, a confidence penalty.",
    source="ζ(−1), Riemann 1859; the penalty is Pereyra 2017, arXiv 1701.06548. Ordinary: no penalty.",
)

ALL = (PHI, PI, ALPHA, ZETA)
