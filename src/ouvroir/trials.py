"""Trials: ways to train side by side, with the same seeds, steps and rows, judged on items that none of them learned from.

A trial is a folder in a run. plan.json is written first: which arms, how many seeds, how many steps, what was cut for lack
of time. Then come the trainings, in processes side by side; what is done is in the folder, so that a trial that was killed
goes on and comes to the same verdict, and one that asked for more seeds keeps those it had. The statistics are in
evaluation/trial.py.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import trying, workflow
from ouvroir.arms import AGAIN, ORDINARY, Arm, Contrast, Design, Way
from ouvroir.data.loader import made_in_batch
from ouvroir.errors import TrainingError, Untried, UsageError
from ouvroir.evaluation import proof, trial
from ouvroir.evaluation.language import Language
from ouvroir.files import readable_duration
from ouvroir.ground import Ground
from ouvroir.media import find_task
from ouvroir.run import Run
from ouvroir.system import usable_cores
from ouvroir.verdicts import Plan, Tables, n_tried_of, result_of

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.options import Workplace
    from ouvroir.progress import Bar
    from ouvroir.recipe import Recipe
    from ouvroir.task import Row

FOLDER = "trial"
RESULT = "trial.json"
LOOKS = "looks.json"
"""In a run: what the test items were asked, as digests by the names of trials. It outlives the folder `trial`."""
USUAL_SEEDS = 10
_SPEED, _MEASURED, _LOG = "speed", "measured", "crew.log"
_MEASURED_STEPS = 8, 40  # fewest and most, of the short trainings that the speed is measured by
_LEAST_LENGTH = 0.1  # of a training: a shorter one says nothing of the whole
_LENGTH = ("steps", "batch_size", "minutes", "epochs")
_SETTLED = ("seed", "threads", "patience", "evaluate_every", "save_every", "branch_at", "cache_features")
_LACK = "for lack of time"
# in sentences that no longer hold when there are more seeds
_OF_SEEDS = ("seeds instead of", "seeds can admit nothing", "were looked at before")
_MOST_OVERRUN = 1.5  # times the minutes that were asked for


def forget(run: Run, name: str) -> None:
    """Delete a trial."""
    shutil.rmtree(run.path / FOLDER / name, ignore_errors=True)


@dataclass(frozen=True)
class Speed:
    """What a training costs on one thread while all cores train: seconds of a step, and of judging and the rest.

    `n_processes`: how many train side by side.
    """

    step_s: float
    rest_s: float
    n_processes: int

    def seconds(self, steps: int) -> float:
        """Of one training."""
        return self.rest_s + steps * self.step_s


def _known_speed(ground: Ground) -> Speed | None:
    """The speed, if it was measured already."""
    noted = Run(ground.run.path / FOLDER / _SPEED).read_json("speed.json")
    return None if noted is None else Speed(**noted)


def measure(ground: Ground, at: Workplace) -> Speed:
    """The speed of the ordinary way here, by two short trainings on each core; kept in the run."""
    folder = ground.run.path / FOLDER / _SPEED
    known = _known_speed(ground)
    if known is not None:
        return known
    least, most = _MEASURED_STEPS
    steps = int(np.clip(ground.steps // 20, least, most))
    way = ground.way(steps)
    made = {_MEASURED: arm_of(ground, Arm(_MEASURED, "", lambda same: same), way)}
    n = usable_cores()
    plan = Plan({_MEASURED: ""}, {}, {}, None, 2 * n, steps, ground.steps)
    _write(folder, plan, made, ground)
    trying.load_arm(folder, _MEASURED, workers=at.workers)
    at.progress.say("Measuring how long trainings take on one thread.")
    answers = train_all(ground, folder, [(_MEASURED, seed) for seed in plan.seeds(_MEASURED)])
    by_hand: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in answers:
        by_hand[one["hand"]].append(one)
    taken = [one for mine in by_hand.values() for one in mine[1:]] or answers  # the first has loaded the data
    training = [Run(trying.place_of(folder, _MEASURED, one["seed"])).metrics()[-1].seconds for one in taken]
    step_s = float(np.mean(training)) / steps
    rest_s = max(0.0, float(np.mean([one["seconds"] for one in taken])) - steps * step_s)
    speed = Speed(step_s, rest_s, len(by_hand))
    Run(folder).write_json("speed.json", asdict(speed))
    return speed


def hold_trial(
    ground: Ground,
    design: Design,
    at: Workplace,
    *,
    name: str,
    seeds: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    said: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Try the arms of `design` and write what came of it to `trial/NAME/trial.json` of the run. Returns it.

    A trial of that name which was begun on the same arms goes on. `minutes`: how long it may take, by fewer seeds and then
    by shorter trainings; `steps`: of each, where that is settled; `said`: what was cut already. That the test items were
    looked at is noted in the run, and widens the intervals of all later trials of that name. Raises TrainingError, Untried,
    UsageError.
    """
    from ouvroir.training.distributed import resolve_device

    ground.require_items()
    if not design.arms:
        raise UsageError("A trial needs an arm beside the ordinary way.")
    folder = ground.run.path / FOLDER / name
    before = Plan.read(folder)
    plan = _planned(folder, ground, design, at, seeds=seeds, minutes=minutes, steps=steps, said=said)
    for sentence in plan.cut:
        at.progress.say(sentence)
    if resolve_device(at.device) != "cpu":
        at.progress.say("Trials train on the processor, side by side, whatever the device.")
    try:
        _train(folder, plan, ground, at)
    except Untried as error:
        if before is None or before.digests != plan.digests or not (folder / RESULT).is_file():
            raise
        before.write(folder)
        raise TrainingError(f"{error} The verdict of {before.n_seeds} seeds stands.") from error
    _note_look(ground.run, name, plan)
    found = result_of(folder, plan, name)
    Run(folder).write_json(RESULT, found)
    return found


def n_looks(run: Run, name: str) -> int:
    """How often the test items gave a verdict in trials of that name."""
    return len(_looks(run, name))


def _looks(run: Run, name: str) -> list[str]:
    noted: dict[str, list[str]] = run.read_json(LOOKS) or {}
    return noted.get(name, [])


def _look_of(plan: Plan) -> str:
    """A digest of what the test items are asked: all arms, with so many seeds."""
    return hashlib.sha256(f"{sorted(plan.digests.items())} {plan.n_seeds}".encode()).hexdigest()


def _note_look(run: Run, name: str, plan: Plan) -> None:
    noted = run.read_json(LOOKS) or {}
    run.write_json(LOOKS, {**noted, name: sorted({*_looks(run, name), _look_of(plan)})})


def _after_looks(run: Run, name: str, plan: Plan) -> Plan:
    """The plan, knowing how often something else was asked before it."""
    n_before = sum(look != _look_of(plan) for look in _looks(run, name))
    cut = _too_few_seeds(plan.n_seeds, n_tried_of(plan.contrasts, plan.chief, n_before))
    if n_before:
        cut.append(f"The test items were looked at before ({n_before}), so the interval is widened.")
    return replace(plan, n_before=n_before, cut=(*plan.cut, *cut))


def _planned(
    folder: Path,
    ground: Ground,
    design: Design,
    at: Workplace,
    *,
    seeds: int | None,
    minutes: float | None,
    steps: int | None,
    said: tuple[str, ...],
) -> Plan:
    """The plan in the folder, where it is for the same arms, with more seeds if more are asked for; else a new one."""
    noted = Plan.read(folder)
    if noted is not None:
        digests = {arm: digest_of(*made) for arm, made in _made(ground, design, noted.steps).items()}
        if digests == dict(noted.digests) and noted.contrasts == design.contrasts:
            plan = replace(noted, chief=design.chief)
            if seeds is not None and seeds > noted.n_seeds and _was_left(folder):
                at.progress.say(
                    "This trial was left early, since no gain worth having was in reach; more seeds are not tried."
                )
            elif seeds is not None and seeds > noted.n_seeds:
                kept = tuple(one for one in noted.cut if not any(said in one for said in _OF_SEEDS))
                plan = _after_looks(ground.run, folder.name, replace(plan, n_seeds=seeds, cut=kept))
            elif minutes is not None and minutes != noted.minutes and any(_LACK in one for one in noted.cut):
                at.progress.say(
                    f"The minutes change nothing in a trial that is planned already: delete {folder}, and what is called like it "
                    "beside it, to plan it anew."
                )
            plan.write(folder)
            return plan
        at.progress.say(f"The trial in {folder} was another one, and is begun anew.")
        shutil.rmtree(folder)
    _made(ground, design, ground.steps)  # what is amiss with an arm is said before anything is measured
    n_tried = n_tried_of(design.contrasts, design.chief, n_looks(ground.run, folder.name))
    n_seeds, n_steps, cut = afforded(
        ground, at, len(design.arms) + 2, seeds=seeds, minutes=minutes, steps=steps, n_tried=n_tried
    )
    made = _made(ground, design, n_steps)
    plan = Plan(
        arms={
            ORDINARY: "As the model was trained.",
            AGAIN: "The same with other seeds.",
            **{arm.name: arm.sentence for arm in design.arms},
        },
        digests={arm: digest_of(*one) for arm, one in made.items()},
        contrasts=design.contrasts,
        chief=design.chief,
        n_seeds=n_seeds,
        steps=n_steps,
        full_steps=ground.steps,
        cut=(*said, *cut),
        minutes=minutes,
    )
    plan = _after_looks(ground.run, folder.name, plan)
    _write(folder, plan, made, ground)
    return plan


def _too_few_seeds(n_seeds: int, n_tried: int) -> list[str]:
    least = trial.least_seeds(n_tried)
    return [] if n_seeds >= least else [f"{n_seeds} seeds can admit nothing here: it takes {least}."]


def _was_left(folder: Path) -> bool:
    """Whether a trial came to its verdict before the last seed, for want of hope."""
    found = Run(folder).read_json(RESULT) or {}
    return bool(found) and found["n_seeds"] < found["planned_seeds"]


def _write(folder: Path, plan: Plan, made: Mapping[str, tuple[Recipe, Manifest]], ground: Ground) -> None:
    """Write the arms, and last the plan: a folder without one was begun by a process that was killed."""
    shutil.rmtree(folder, ignore_errors=True)
    for arm, (recipe, manifest) in made.items():
        manifest.save(folder / arm / workflow.MANIFEST)
        Run(folder / arm).write_recipe(recipe)
    shutil.copytree(ground.base.checkpoint("best") / "processor", folder / trying.PROCESSOR)
    plan.write(folder)


def try_out(
    ground: Ground, arms: Sequence[Arm], at: Workplace, *, name: str, seeds: int, steps: int
) -> dict[str, float]:
    """What each arm gets right on average on the split of `ground`, by name, with a few seeds: a choice, and no verdict."""
    folder = ground.run.path / FOLDER / name
    ordinary = ground.way(steps)
    made = {arm.name: arm_of(ground, arm, ordinary) for arm in arms}
    plan = Plan(
        arms={arm.name: arm.sentence for arm in arms},
        digests={arm: digest_of(*one) for arm, one in made.items()},
        contrasts={},
        chief=None,
        n_seeds=seeds,
        steps=steps,
        full_steps=ground.steps,
    )
    if Plan.read(folder) != plan:
        _write(folder, plan, made, ground)
    _train(folder, plan, ground, at)
    tables = Tables(folder, plan)
    return {arm: float(tables.right(arm).mean()) for arm in plan.arms}


def least_minutes(ground: Ground, at: Workplace, n_arms: int, *, n_tried: int = 1) -> float:
    """How long a trial of the fewest seeds and the shortest trainings takes here."""
    speed, steps = measure(ground, at), math.ceil(ground.steps * _LEAST_LENGTH)
    return speed.seconds(steps) * trial.least_seeds(n_tried) * n_arms / speed.n_processes / 60


def afforded(
    ground: Ground,
    at: Workplace,
    n_arms: int,
    *,
    seeds: int | None,
    minutes: float | None,
    steps: int | None = None,
    share: float = 1.0,
    n_tried: int = 1,
    at_least: float = 0.0,
) -> tuple[int, int, list[str]]:
    """Seeds, steps and what was cut: first seeds, down to the fewest that can admit anything, then steps, down to a tenth.

    `steps`: where they are settled already, and only seeds can be cut. `share`: `minutes` are so much of those
    that a person asked for. `n_tried`: the ways that are judged beside each other. Raises Untried when a tenth of the steps
    takes much longer than `minutes`; `at_least`: minutes in all that something else needs.
    """
    n_seeds = seeds or max(USUAL_SEEDS, trial.least_seeds(n_tried))
    n_steps = steps or ground.steps
    cut: list[str] = []
    if minutes is not None:
        speed = measure(ground, at)
        n = speed.n_processes
        affordable = 60 * minutes * n / max(speed.seconds(n_steps) * n_arms, 1e-9)
        if affordable < n_seeds and seeds is None:
            usual, n_seeds = n_seeds, max(min(n_seeds, trial.least_seeds(n_tried)), math.floor(affordable))
            if n_seeds < usual:
                cut.append(f"{n_seeds} seeds instead of {usual}, for lack of time.")
        if affordable < n_seeds and steps is None:
            one_s = 60 * minutes * n / (n_seeds * n_arms)
            least = math.ceil(n_steps * _LEAST_LENGTH)
            n_steps = int(np.clip((one_s - speed.rest_s) / max(speed.step_s, 1e-9), least, n_steps))
            needed = speed.seconds(n_steps) * n_seeds * n_arms / n / 60
            if needed > _MOST_OVERRUN * minutes:
                raise Untried(
                    f"With --minutes {round(minutes / share, 1):g} each training of the trial would have less than "
                    f"{100 * _LEAST_LENGTH:.0f} % of its steps, which says nothing of whole ones. "
                    f"--minutes {math.ceil(max(needed / share, at_least))} is enough here."
                )
    if n_steps < ground.steps:
        cut.append(f"Trainings of {n_steps} steps instead of {ground.steps}, for lack of time.")
    return n_seeds, n_steps, cut


def _made(ground: Ground, design: Design, steps: int) -> dict[str, tuple[Recipe, Manifest]]:
    """Recipe and rows of every arm."""
    ordinary = ground.way(steps)

    def same(way: Way) -> Way:
        return way

    arms = (*(Arm(name, "", same) for name in (ORDINARY, AGAIN)), *design.arms)
    return {arm.name: arm_of(ground, arm, ordinary) for arm in arms}


def arm_of(ground: Ground, arm: Arm, ordinary: Way) -> tuple[Recipe, Manifest]:
    """Recipe and rows of one arm. Raises UsageError when it would train longer than the ordinary way, or on other data, or when
    it changes what a trial settles for all arms, so that nothing would come of it.
    """
    way = arm.change(ordinary)
    if not isinstance(way, Way):
        raise UsageError(
            f"The arm `{arm.name}` gives no way to train: its function must return one, as `way.having(...)` does."
        )
    mine, usual = way.recipe.loop, ordinary.recipe.loop
    if any(getattr(mine, name) != getattr(usual, name) for name in _LENGTH):
        raise UsageError(f"The arm `{arm.name}` changes steps or batch, and then more training would pass for a gain.")
    if settled := [name for name in _SETTLED if getattr(mine, name) != getattr(usual, name)]:
        raise UsageError(
            f"The arm `{arm.name}` changes loop.{settled[0]}, which a trial settles itself, alike for all arms: nothing would "
            "come of it."
        )
    task = find_task(way.recipe.task)
    if way.recipe.options != ordinary.recipe.options and (
        task.fit_processor(ground.manifest, way.recipe) != task.fit_processor(ground.manifest, ordinary.recipe)
    ):
        raise UsageError(
            f"The arm `{arm.name}` changes how items are stored, and all arms of a trial learn from what is stored already. Train "
            "a model with it, and compare the two: `ouvroir compare A B DATA`."
        )
    if way.extra and not 0 < made_in_batch(mine.synthetic_share, mine.batch_size) < mine.batch_size:
        raise UsageError(
            f"The arm `{arm.name}` learns from rows that no batch of {mine.batch_size} holds, or no others: "
            f"{mine.synthetic_share:g} is not a share that leaves room for both."
        )
    if way.recipe.data != ordinary.recipe.data or way.recipe.task != ordinary.recipe.task:
        raise UsageError(
            f"The arm `{arm.name}` changes the data or the task, and all must be judged on the same items."
        )
    if way.recipe.model.init_from != ordinary.recipe.model.init_from:
        raise UsageError(
            f"The arm `{arm.name}` starts from another model, which may have learned from the items that are judged by."
        )
    held_out = {row.sha256 for row in ground.manifest.rows if row.split != "train"}
    if wrong := [
        row for row in way.extra if row.split != "train" or row.origin != "synthetic" or row.sha256 in held_out
    ]:
        raise UsageError(
            f"The arm `{arm.name}` learns from `{wrong[0].id}`, which is no synthetic train row, or is a validation or test row."
        )
    manifest = ground.rows_of(way)
    return replace(way.recipe, data=replace(way.recipe.data, manifest=manifest.fingerprint)), manifest


def digest_of(recipe: Recipe, manifest: Manifest) -> str:
    """Of all that decides a training, but for where files lie."""
    settings = replace(recipe, data=replace(recipe.data, source="", manifest="")).to_json()
    return hashlib.sha256(f"{settings}\n{rows_digest(manifest.rows)}".encode()).hexdigest()


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 of what rows hold, as hex; where their files lie does not enter."""
    parts = [f"{row.id}\n{row.sha256}\n{row.label}\n{row.split}\n{row.origin}\n{row.weight!r}" for row in rows]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def train_all(
    ground: Ground, folder: Path, jobs: Sequence[tuple[str, int]], bar: Bar | None = None, *, keep: bool = False
) -> list[dict[str, Any]]:
    """Have the crew train arms of a folder with seeds; what it answers of each, in the order of ending. Raises TrainingError."""
    asked = [{"folder": str(folder), "arm": arm, "seed": seed, "keep": keep} for arm, seed in jobs]
    found = []
    for answer in ground.crew.run(asked, folder / _LOG):
        found.append(answer)
        if bar is not None:
            bar.advance()
    return found


def _train(folder: Path, plan: Plan, ground: Ground, at: Workplace) -> None:
    """All trainings that are not done, in two parts, arms that are beyond hope after the first being left."""
    n_jobs = plan.n_seeds * len(plan.arms)
    jobs_left = [(arm, seed) for arm in plan.arms for seed in plan.seeds(arm) if not trying.is_done(folder, arm, seed)]
    if not jobs_left:
        at.progress.say(f"All {n_jobs} trainings of this trial are done already.")
        return
    if len(jobs_left) < n_jobs:
        at.progress.say(f"{n_jobs - len(jobs_left)} of {n_jobs} trainings of this trial are done already.")
    for arm in plan.arms:  # packed once, before the crew opens it
        trying.load_arm(folder, arm, workers=at.workers)
    speed = _known_speed(ground)  # where time is of no concern, the bar says soon enough how long it takes
    about = ""
    if speed is not None:
        about = f", at most {readable_duration(speed.seconds(plan.steps) * len(jobs_left) / usable_cores())}"
    at.progress.say(f"{len(plan.arms)} ways, {plan.n_seeds} seeds: {n_jobs} trainings of {plan.steps} steps{about}.")
    futile: set[str] = set()
    with workflow.timed(ground.run, "trial_s"), at.progress.bar("Trainings", n_jobs) as bar:
        for part in _parts(plan):
            jobs = [(arm, plan.seeds(arm)[number]) for number in part for arm in plan.arms if arm not in futile]
            left = [(arm, seed) for arm, seed in jobs if not trying.is_done(folder, arm, seed)]
            bar.advance(len(jobs) - len(left))
            train_all(ground, folder, left, bar)
            if part.stop == trial.FUTILE_SEEDS < plan.n_seeds:
                futile = _futile(folder, plan)
                for arm in sorted(futile):
                    called = proof.arm_name(arm, Language("en"))
                    at.progress.say(
                        f"{called}: no gain worth having is in reach after {part.stop} seeds; it is tried no further."
                    )
                if plan.chief in futile or (plan.contrasts and futile >= set(plan.contrasts)):
                    return


def _parts(plan: Plan) -> Iterator[range]:
    """The seeds that are tried before hopeless arms are looked for, and the rest."""
    first = min(trial.FUTILE_SEEDS, plan.n_seeds)
    yield range(first)
    if first < plan.n_seeds:
        yield range(first, plan.n_seeds)


def _futile(folder: Path, plan: Plan) -> set[str]:
    """Arms that stand for themselves and are beyond hope after the first seeds; none where chance alone made a difference."""
    table = Tables(folder, plan)
    found: set[str] = set()
    same = trial.two_way(table.differences(Contrast((AGAIN,)))[: trial.FUTILE_SEEDS], groups=table.groups)
    if not same.low <= 0 <= same.high:
        return found
    for name, contrast in plan.contrasts.items():
        if contrast == Contrast((name,)) and trial.is_futile(
            table.differences(contrast)[: trial.FUTILE_SEEDS], table.groups
        ):
            found.add(name)
    return found
