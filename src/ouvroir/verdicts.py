"""What the folder of a trial says: its plan, who got which item right, and the verdicts, a function of these alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import trying, workflow
from ouvroir.arms import AGAIN, ORDINARY, Contrast
from ouvroir.evaluation import trial
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.task import Answers

OTHER_SEEDS = 500
"""Added to the seeds of the ordinary way for those of its repetition."""


@dataclass(frozen=True)
class Plan:
    """What a trial does. `arms`: sentences by name; `digests`: of the recipe and rows of each; `cut`: what was left out.

    `n_before`: how often the same items were looked at before, with other seeds, or with something else under the same name:
    each look is a chance to be admitted by luck, so intervals are widened by it (`n_tried_of`).
    `minutes`: how long it was to take, None for as long as it takes.
    """

    arms: Mapping[str, str]
    digests: Mapping[str, str]
    contrasts: Mapping[str, Contrast]
    chief: str | None
    n_seeds: int
    steps: int
    full_steps: int
    cut: tuple[str, ...] = ()
    n_before: int = 0
    minutes: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """The plan in a folder, if there is one."""
        noted = Run(folder).read_json("plan.json")
        if noted is None:
            return None
        contrasts = {
            name: Contrast(tuple(one["plus"]), tuple(one["minus"])) for name, one in noted.pop("contrasts").items()
        }
        return cls(**{**noted, "contrasts": contrasts, "cut": tuple(noted["cut"])})

    def write(self, folder: Path) -> None:
        """Write plan.json."""
        Run(folder).write_json("plan.json", asdict(self))

    def seeds(self, arm: str) -> list[int]:
        """The seeds of an arm: the same for all but the repetition."""
        first = OTHER_SEEDS if arm == AGAIN else 0
        return list(range(first, first + self.n_seeds))


class Tables:
    """Who got which item right, from the answers in a folder."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self._known: dict[str, np.ndarray] = {}

    def answers(self, arm: str) -> list[Answers]:
        """Of the seeds that are done, without a gap."""
        from ouvroir.evaluation.evaluate import load_answers

        found = []
        for seed in self.plan.seeds(arm):
            if not trying.is_done(self.folder, arm, seed):
                break
            found.append(load_answers(trying.place_of(self.folder, arm, seed) / trying.ANSWERS))
        return found

    def right(self, arm: str) -> np.ndarray:
        """(K, N) float64: 1 where the training with a seed got an item right; minus the loss where there is no right or wrong."""
        from ouvroir.evaluation.metrics import is_classified, is_right

        if arm not in self._known:
            self._known[arm] = np.stack(
                [
                    is_right(one).astype(np.float64) if is_classified(one) else -one.loss / np.maximum(one.n_items, 1)
                    for one in self.answers(arm)
                ]
            )
        return self._known[arm]

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(N,) int64, which items belong together; None where none do."""
        arm = Run(self.folder / ORDINARY)
        manifest = workflow.kept_manifest(arm.recipe(), near=arm.path)
        rows = [manifest.rows[place] for place in manifest.judged("test").tolist()]
        index = self.answers(ORDINARY)[0].index
        names = [rows[place].group or f"\n{place}" for place in index.tolist()]
        found = np.unique(names, return_inverse=True)[1].astype(np.int64)
        return found if len(np.unique(found)) < len(found) else None

    def differences(self, contrast: Contrast) -> np.ndarray:
        """(K, N): the mean of some arms minus that of others, over the seeds that all of them have."""
        sides = [[self.right(arm) for arm in arms] for arms in (contrast.plus, contrast.minus)]
        k = min(len(one) for side in sides for one in side)
        plus, minus = (np.mean([one[:k] for one in side], axis=0) for side in sides)
        found: np.ndarray = plus - minus
        return found


def n_tried_of(contrasts: Mapping[str, Contrast], chief: str | None, n_before: int) -> int:
    """What a verdict is corrected for: the number of ways, 1 for the chief one, times 2 for each look before.

    The chance that is left to be wrong is halved at each look, so that all looks together, however many, are wrong at most
    twice as often as the first alone.
    """
    return (1 if chief else max(1, len(contrasts))) << n_before


def result_of(folder: Path, plan: Plan, name: str) -> dict[str, Any]:
    """What the answers in the folder say, as plain JSON values: a function of these and the plan alone."""
    from ouvroir.evaluation.metrics import is_classified

    tables = Tables(folder, plan)
    example = tables.answers(ORDINARY)[0]
    targets = example.targets if example.targets is not None and example.targets.ndim == 1 else None
    same = tables.differences(Contrast((AGAIN,)))
    simple = {one: plan.arms[one] for one, contrast in plan.contrasts.items() if contrast == Contrast((one,))}
    others = {one: contrast for one, contrast in plan.contrasts.items() if one != plan.chief}
    judged: dict[str, dict[str, Any]] = {}
    for one, contrast in plan.contrasts.items():
        differences = tables.differences(contrast)
        finding = trial.judge(
            differences,
            same=same,
            targets=targets,
            labels=example.labels,
            groups=tables.groups,
            n_tried=n_tried_of(others, one if one == plan.chief else None, plan.n_before),
        )
        judged[one] = {
            "sentence": simple.get(one, ""),
            "verdict": finding.verdict,
            "gain": finding.gain.as_dict(),
            "flip_p": finding.flip_p,
            "losers": list(finding.losers),
            "level": finding.level,
            "least_seeds": finding.least_seeds,
            "is_futile": trial.is_futile(differences[: trial.FUTILE_SEEDS], tables.groups),
            "by_class": {label: estimate.as_dict() for label, estimate in (finding.by_class or {}).items()},
            "differences": [float(value) for value in differences.mean(axis=1)],
        }
    ordinary = tables.right(ORDINARY)
    return {
        "format": 1,
        "name": name,
        "metric": "accuracy" if is_classified(example) else "loss",
        "n_items": ordinary.shape[1],
        "n_seeds": len(same),
        "planned_seeds": plan.n_seeds,
        "n_before": plan.n_before,
        "steps": plan.steps,
        "full_steps": plan.full_steps,
        "cut": list(plan.cut),
        "ordinary": {"means": [float(value) for value in ordinary.mean(axis=1)]},
        "same": {
            **trial.two_way(same, groups=tables.groups).as_dict(),
            "differences": [float(value) for value in same.mean(axis=1)],
        },
        "arms": {one: found for one, found in judged.items() if one in simple},
        "effects": {
            one: {**found["gain"], **{name: found[name] for name in ("verdict", "flip_p", "differences", "level")}}
            for one, found in judged.items()
            if one not in simple
        },
        "chief": plan.chief,
    }
