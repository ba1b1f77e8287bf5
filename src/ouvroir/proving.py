"""`prove`: a generator is trained on the train rows of a run, its samples are judged, and a trial says whether they help.

What is done is in the run's folder, so that all of it goes on after a stop. Other arms (constants, settings, a person's own)
are tried in the same way; the trial itself is in trials.py.
"""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import admitting, assessing, generating, planning, trials, workflow
from ouvroir.arms import Arm, Design, constants_design, settings_arm, short_name
from ouvroir.assessing import Assessed, Door
from ouvroir.data.findings import given_settings
from ouvroir.data.loader import made_in_batch
from ouvroir.errors import NonFiniteLoss, Untried, UsageError
from ouvroir.estimate import estimate
from ouvroir.evaluation.language import Language
from ouvroir.files import readable_count
from ouvroir.ground import LEAST_ITEMS, Ground, too_few
from ouvroir.hashes import hash_file
from ouvroir.media import find_task
from ouvroir.progress import QUIET
from ouvroir.recipe import Value
from ouvroir.run import GENERATOR, Run
from ouvroir.synthesis.samples import Sample, Samples, sample_row
from ouvroir.task import Row, Synthesiser

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.options import Workplace
    from ouvroir.recipe import Recipe

BEFORE = "generator_before"
SYNTHETIC, VARIED, MIXED = generating.FOLDER, generating.VARIED, "interpolation"
"""Names of arms; the first two are those of the folders of their samples too."""
PLAN = "trial/synthetic_plan.json"
LEAST_TRIED = 20  # samples
SHARES = (0.1, 0.25, 0.5)
USUAL_SHARE = 0.25
CHOICE = "choice"
SLOW_SHARE = 0.35
"""Of the train rows, those that are varied: the ones which models learn last."""
BEGINS = (0.3, 0.5, 0.7)
LEAST_MADE, MOST_MADE = 200, 2000
CHOICE_SEEDS = 2
_OF_GENERATOR, _OF_CHOICE = 0.25, 0.15  # of the time
_MARGIN = 1.2  # times what the generator is estimated to need


@dataclass(frozen=True)
class Wishes:
    """What a person may say of a trial. `minutes`: for all of it; `share`: of each batch that samples make up, else chosen;
    `generator`: the task that makes samples, else the usual one of the task.
    """

    seeds: int | None = None
    minutes: float | None = None
    share: float | None = None
    generator: str | None = None


@dataclass(frozen=True)
class Proof:
    """What a trial came to: `found` as in trial.json, and the run that it is in."""

    run: Run
    name: str
    found: Mapping[str, Any]

    @property
    def verdict(self) -> str | None:
        """Of the chief arm, or of the only one; None when there are several."""
        judged = {**self.found["arms"], **self.found["effects"]}
        chief = self.found["chief"] or (next(iter(judged)) if len(judged) == 1 else None)
        return None if chief is None else str(judged[chief]["verdict"])


def check(wishes: Wishes) -> None:
    """Raise UsageError for numbers that mean nothing."""
    if wishes.seeds is not None and wishes.seeds < 2:
        raise UsageError(f"A trial needs two seeds at least, and six to admit anything; not {wishes.seeds}.")
    if wishes.minutes is not None and not wishes.minutes > 0:
        raise UsageError(f"minutes is more than 0, and not {wishes.minutes}.")
    if wishes.share is not None and not 0 < wishes.share < 1:
        raise UsageError(f"The share of samples in a batch is between 0 and 1, and not {wishes.share}.")


def obstacle(task: str, manifest: Manifest, *, generator: str | None = None) -> str:
    """Why synthetic data cannot be tried for a task on such rows, as a sentence; '' where they can.

    Something must make them, and enough test rows judge them.
    """
    if isinstance(find_task(task), Synthesiser):
        return (
            f"A model of {task} makes samples. Whether they help is tried with a model that learned the classes: "
            "give a run of one."
        )
    if (generator or find_task(task).synthesiser) is None:
        return f"Nothing can make samples for {task} yet. Other arms can be tried: --set, --arm."
    if manifest.is_multi_label:
        return "Samples with several labels at once cannot be made yet. Other arms can be tried: --set, --arm."
    return too_few(manifest)


def too_short(manifest: Manifest, minutes: float, at: Workplace, *, share: float) -> str:
    """Why a generator would learn too little where a trial has `share` of `minutes`, as a sentence; '' where it would not."""
    enough, steps = _generator_minutes(find_task(manifest.task).synthesiser, manifest, at)
    if minutes * share >= enough:
        return ""
    return _said_too_short(minutes, steps * generating.LEAST_LEARNED * minutes * share / enough, steps, enough / share)


def _said_too_short(minutes: float, had: float, steps: int, enough: float) -> str:
    return (
        f"With --minutes {round(minutes, 1):g} the generator would have {math.floor(had)} of the {steps} steps that it needs, and "
        f"what it made would be hardly more than noise. --minutes {math.ceil(enough)} is enough here."
    )


def _generator_minutes(name: str | None, manifest: Manifest, at: Workplace) -> tuple[float, int]:
    """Minutes of a trial in which its generator has the fewest steps that will do, and the steps that its task proposes."""
    from ouvroir.training.distributed import World, resolve_device

    assert name is not None
    recipe, _ = planning.propose_recipe(
        find_task(name), replace(manifest, task=name), {}, preset="small", init_from="scratch", progress=QUIET
    )
    found = estimate("generator", recipe, manifest, World(device=resolve_device(at.device)), at)
    return generating.LEAST_LEARNED * found.train_s * _MARGIN / _OF_GENERATOR / 60, found.steps


def try_arms(
    run: Run, arms: Sequence[Arm], settings: Mapping[str, Value], at: Workplace, wishes: Wishes, *, constants: bool
) -> Proof:
    """Try the constants, settings or a person's arms. Raises UsageError when several of these are asked for at once."""
    if constants and (arms or settings):
        raise UsageError("The constants have a trial of their own: leave out the other arms, or try these afterwards.")
    ground = Ground.of(run)
    if isinstance(find_task(ground.recipe.task), Synthesiser):
        raise UsageError(
            f"A trial counts right and wrong answers, and a model of {ground.recipe.task} makes samples. To see what a setting "
            "does to it, train it with and without, and judge the two: `ouvroir compare A B DATA`."
        )
    if constants:
        name, design = "constants", constants_design(ground.recipe)
    else:
        chosen = [*arms, *([settings_arm(settings)] if settings else [])]
        name, design = short_name("-".join(arm.name for arm in chosen)), Design.of(chosen)
    if name in (SYNTHETIC, CHOICE, "constants", "speed") and not constants:
        raise UsageError(f"An arm of yours cannot be called `{name}`: that is the name of a trial of Ouvroir's own.")
    try:
        found = trials.hold_trial(ground, design, at, name=name, seeds=wishes.seeds, minutes=wishes.minutes)
    finally:
        ground.crew.close()
    return Proof(run, name, found)


def prove_synthetic(run: Run, at: Workplace, wishes: Wishes) -> Proof:
    """Train a generator unless there is one, have it make samples, judge them, choose how many to use, and hold the trial.

    Raises Untried when no verdict can come of it, before anything is made where that can be known.
    """
    synthesis = Synthesis(run, at, wishes)
    try:
        return synthesis.prove()
    finally:
        synthesis.ground.crew.close()


class Synthesis:
    """The way from a trained model to the verdict on samples like its train rows."""

    def __init__(self, run: Run, at: Workplace, wishes: Wishes) -> None:
        self.run, self.at, self.wishes = run, at, wishes
        self.ground = Ground.of(run)
        self.cut: list[str] = []
        self.kind: str | None = None

    def prove(self) -> Proof:
        """All of it."""
        self.require_possible()
        plan = self._plan()  # before anything is changed: it says when the minutes are too few
        # what it was no longer holds, and what it will be is not known
        (self.run.path / admitting.OUTCOME).unlink(missing_ok=True)
        try:
            return self._proved(plan)
        except Untried as error:
            trials.forget(self.run, SYNTHETIC)  # an earlier trial was of other samples, and says nothing of these
            (self.run.path / PLAN).unlink(missing_ok=True)  # it was settled by the time there was for these
            admitting.leave_out(self.run, str(error), self.kind)
            raise

    def _proved(self, plan: dict[str, Any]) -> Proof:
        ground = self.ground
        generator = self._generator()
        table = self._table(generator)
        folds = assessing.train_folds(ground, self.at, plan["steps"])
        door = Door(ground, generator, self.at)
        pools = {SYNTHETIC: self._assessed(*self._made(generator, plan["total"]), door, folds)}
        if _varies(generator):
            pools[VARIED] = self._assessed(*self._varied(generator, table, folds, plan["total"]), door, folds)
        self._say(pools)
        kind, share = self._chosen(pools, plan)
        self.kind = kind
        rows = pools[kind].rows
        if len(rows) < LEAST_TRIED:
            raise self._without_samples(generator, pools[kind])
        mixtures = generating.mixed(generator, table, min(plan["total"], len(rows)), seed=0)
        design = Design.of([self._arm(kind, rows, share), self._plain(mixtures, table, share)], chief=kind)
        minutes = None if self.wishes.minutes is None else self.wishes.minutes * self._left()
        found = trials.hold_trial(
            ground,
            design,
            self.at,
            name=SYNTHETIC,
            seeds=self.wishes.seeds,
            minutes=minutes,
            steps=plan["steps"],
            said=tuple(self.cut),
        )
        self._keep(kind, share, rows, found)
        return Proof(self.run, SYNTHETIC, found)

    def require_possible(self) -> None:
        """Raise Untried when no verdict can come of a trial here, UsageError when it would change what was learned from."""
        tuned = Run(self.run.path / "tuned")
        has_begun = (tuned.path / "checkpoints" / "last.txt").is_file()
        learned = has_begun and tuned.recipe().data.manifest != self.ground.manifest.fingerprint
        if learned and admitting.admitted(self.run).rows:
            raise UsageError(
                f"The tuned model of {self.run.path} learned from samples that were admitted, and another trial would change them. "
                "Start anew with `ouvroir refine`, or try other arms: --set, --constants, --arm."
            )
        ground = self.ground
        if sentence := obstacle(ground.recipe.task, ground.manifest, generator=self.wishes.generator):
            raise Untried(sentence)
        self._shares()
        self._synthesiser()

    def _shares(self) -> tuple[float, ...]:
        """The shares of a batch that are tried: those that leave room for both kinds of rows in it. Raises Untried, UsageError."""
        size, wished = self.ground.recipe.loop.batch_size, self.wishes.share
        found = tuple(
            share for share in (SHARES if wished is None else (wished,)) if 0 < made_in_batch(share, size) < size
        )
        if not found and wished is not None:
            raise UsageError(
                f"{100 * wished:g} % of a batch of {size} is {made_in_batch(wished, size) or 'no'} rows. Choose another share, so "
                "that each batch holds both real and synthetic ones."
            )
        if not found:
            raise Untried(
                f"A batch of {size} has no room for synthetic rows beside real ones. Train with a larger loop.batch_size."
            )
        return found

    def _synthesiser(self) -> Synthesiser:
        """The task that makes samples. Raises UsageError when it makes none, or the generator that is there is another's."""
        name = self.wishes.generator or find_task(self.ground.recipe.task).synthesiser
        assert name is not None
        task = find_task(name)
        if not isinstance(task, Synthesiser):
            usual = find_task(self.ground.recipe.task).synthesiser
            raise UsageError(f"`{name}` makes no samples." + (f" `{usual}` does." if usual else ""))
        here = Run(self.run.path / GENERATOR)
        if not (here.path / "recipe.json").is_file():
            return task
        made_by = find_task(here.recipe().task)
        if self.wishes.generator and made_by.name != name:
            raise UsageError(
                f"{here.path} is a generator of another kind, {made_by.name}. Delete that folder to train one of {name}."
            )
        assert isinstance(made_by, Synthesiser)
        return made_by

    def _left(self) -> float:
        """The share of the time that is left for the trial itself."""
        return 1 - _OF_GENERATOR - _OF_CHOICE

    def _plan(self) -> dict[str, Any]:
        """How many steps each training has and how many samples are made: settled once, by the time there was then.

        So another wish for seeds or minutes keeps what is done; deleting the folder `trial` of the run starts anew.
        """
        noted: dict[str, Any] | None = self.run.read_json(PLAN)
        if noted is not None:
            return noted
        minutes = None if self.wishes.minutes is None else self.wishes.minutes * self._left()
        n_tried = 1 << trials.n_looks(self.run, SYNTHETIC)
        at_least = self._require_minutes(n_tried)
        _, steps, _ = trials.afforded(
            self.ground,
            self.at,
            4,
            seeds=self.wishes.seeds,
            minutes=minutes,
            share=self._left(),
            n_tried=n_tried,
            at_least=at_least,
        )
        n_train = sum(row.split == "train" for row in self.ground.real.rows)
        plan = {"steps": steps, "total": int(np.clip(n_train, LEAST_MADE, MOST_MADE)), "chosen": None}
        self.run.write_json(PLAN, plan)
        return plan

    def _require_minutes(self, n_tried: int) -> float:
        """The minutes in all that a generator needs which is still to be trained. Raises Untried when there are fewer."""
        minutes = self.wishes.minutes
        if minutes is None or self._usable() is not None:
            return 0.0
        enough, steps = _generator_minutes(self._synthesiser().name, self.ground.real, self.at)
        if minutes < enough:
            of_trial = trials.least_minutes(self.ground, self.at, 4, n_tried=n_tried) / self._left()
            had = steps * generating.LEAST_LEARNED * minutes / enough
            raise Untried(_said_too_short(minutes, had, steps, max(enough, of_trial)))
        return enough

    def _usable(self) -> Run | None:
        """The generator of the run, if there is one that is not finished with too few steps."""
        here = Run(self.run.path / GENERATOR)
        if not (here.path / "recipe.json").is_file():
            return None
        steps, wanted = generating.steps_of(here)
        return None if generating.is_short(steps, wanted) else here

    def _generator(self) -> Run:
        """The generator of the run, trained if it is not yet."""
        task = self._synthesiser()
        generator = self._usable()
        if generator is None:
            self._put_aside()
            generator = self.run.child(GENERATOR, self._recipe(task))
        if not (generator.path / workflow.MANIFEST).is_file():
            workflow.keep_manifest(generator, self.ground.real)
        if generator.state != "finished":
            self.at.progress.say("Training the generator.")
            try:
                fitted = workflow.train_run(generator, self.at, resume=True)
            except NonFiniteLoss as error:
                self.at.progress.say(str(error))
                way_on = generating.anew(generator)
                raise Untried(f"The generator diverged: its loss became NaN or infinite. {way_on}") from error
            if fitted.stopped == "interrupted":
                if self.run.verb != "refine":
                    self.at.progress.say(f"`ouvroir prove {shlex.quote(str(self.run.path))}` goes on with it.")
                raise KeyboardInterrupt
            generator.set_status("finished", f"Finished after {readable_count(fitted.steps, 'step')}.")
        steps, wanted = generating.steps_of(generator)
        if steps is not None and generating.is_short(steps, wanted):  # it was slower than it was estimated to be
            minutes = (
                (generator.recipe().loop.minutes or 0.0) * generating.LEAST_LEARNED * wanted / steps / _OF_GENERATOR
            )
            enough = f" `{self._command(minutes)}` trains one that has enough." if minutes else ""
            raise Untried(generating.said_short(steps, wanted) + enough)
        return generator

    def _put_aside(self) -> None:
        """Keep a generator that learned too little beside the one that takes its place."""
        short = self.run.path / GENERATOR
        if short.is_dir():
            before = short.with_name(BEFORE)
            shutil.rmtree(before, ignore_errors=True)
            short.rename(before)
            self.at.progress.say(
                f"The generator that had too few steps is kept as {before}, and another one is trained."
            )

    def _command(self, minutes: float) -> str:
        """The call that tries again, with so many minutes."""
        return f"ouvroir prove {shlex.quote(str(self.run.path))} --minutes {math.ceil(minutes)}"

    def _recipe(self, task: Synthesiser) -> Recipe:
        minutes = self.wishes.minutes
        settings: dict[str, Value] = {} if minutes is None else {"loop.minutes": max(0.2, _OF_GENERATOR * minutes)}
        recipe, notes = planning.propose_recipe(
            task,
            replace(self.ground.real, task=task.name),
            settings,
            preset="small",
            init_from="scratch",
            progress=QUIET,
        )
        planning.say_all(notes, self.at.progress)
        return recipe

    def _table(self, generator: Run) -> Table:
        """The real train rows as the generator's processor encodes them."""
        task = find_task(generator.recipe().task)
        processor = task.load_processor(generator.checkpoint("best") / "processor")
        prepared = workflow.prepare(
            task,
            self.ground.real,
            generator.recipe(),
            processor=processor,
            workers=self.at.workers,
            progress=self.at.progress,
        )
        return prepared.tables["train"]

    def _made(self, generator: Run, total: int) -> tuple[Samples, list[Sample]]:
        """New samples, as many of each class; others that a person had made beside them are left alone."""
        samples = Samples(generator.path / generating.FOLDER)
        checkpoint = generator.checkpoint("best")
        labels = find_task(generator.recipe().task).load_processor(checkpoint / "processor").labels
        weights = hash_file(checkpoint / "model.safetensors")
        wanted = {(label, 0, number) for label in labels for number in range(-(-total // max(1, len(labels))))}

        def mine() -> list[Sample]:
            return [
                one
                for one in samples.read()
                if one.generator == weights and (one.label, one.seed, one.number) in wanted
            ]

        if len(mine()) < len(wanted):
            generating.generate(generator, None, len(wanted) // len(labels), 0, self.at)
        return samples, mine()

    def _varied(self, generator: Run, table: Table, folds: Path, total: int) -> tuple[Samples, list[Sample]]:
        """Variations of the rows that are learned last, from all of BEGINS on."""
        slow = assessing.slow_rows(folds, SLOW_SHARE, -(-total // len(BEGINS)))
        samples = Samples(generator.path / generating.VARIED)
        weights = hash_file(generator.checkpoint("best") / "model.safetensors")
        known = samples.read()
        if [one for one in known if one.generator != weights] or {one.parents[0] for one in known} != set(slow):
            samples.forget(one.id for one in known)
            generating.vary(generator, table, slow, BEGINS, 0, self.at)
        return samples, samples.read()

    def _assessed(self, samples: Samples, found: list[Sample], door: Door, folds: Path) -> Assessed:
        return assessing.assess_samples(door, samples, found, self.at, folds=folds)

    def _say(self, pools: Mapping[str, Assessed]) -> None:
        for kind, pool in pools.items():
            what = "new samples" if kind == SYNTHETIC else "variations"
            refused = {name: n for name, n in pool.summary["refused"].items() if n}
            called = {name: Language("en").known("made_code", name) for name in refused}
            why = f" (refused: {', '.join(f'{n} {called[name]}' for name, n in refused.items())})" if refused else ""
            self.at.progress.say(f"{pool.summary['n_kept']} of {pool.summary['n_made']} {what} may be tried{why}.")

    def _chosen(self, pools: Mapping[str, Assessed], plan: dict[str, Any]) -> tuple[str, float]:
        """The kind of samples and their share of each batch, chosen once for these samples."""
        digests = {kind: trials.rows_digest(pool.rows) for kind, pool in pools.items()}
        noted = plan["chosen"]
        if noted is None or noted["digests"] != digests or self.wishes.share not in (None, noted["share"]):
            kind, share = self._best(pools, plan["steps"])
            noted = {"kind": kind, "share": share, "digests": digests, "cut": self.cut}
            self.run.write_json(PLAN, {**plan, "chosen": noted})
        self.cut = noted["cut"]
        return noted["kind"], noted["share"]

    def _best(self, pools: Mapping[str, Assessed], steps: int) -> tuple[str, float]:
        """What does best on validation rows; the test is not looked at."""
        kinds = [kind for kind, pool in pools.items() if len(pool.rows) >= LEAST_TRIED]
        shares = self._shares()
        usual_share = USUAL_SHARE if USUAL_SHARE in shares else shares[-1]
        if not kinds:
            return SYNTHETIC, usual_share
        candidates = [(kind, share) for kind in kinds for share in shares]
        usual = (kinds[0], usual_share)
        if len(candidates) == 1:
            return usual
        ground = replace(self.ground, split="validation")
        if ground.n_items < LEAST_ITEMS:
            self.cut.append(f"No choice of share and kind: {ground.n_items} validation items are too few for it.")
            return usual
        if self.wishes.minutes is not None:
            speed = trials.measure(self.ground, self.at)
            in_all = 60 * self.wishes.minutes * _OF_CHOICE * speed.n_processes
            n = int(in_all / (speed.seconds(steps) * CHOICE_SEEDS))
            if n < len(candidates):
                candidates = [usual, *(other for other in candidates if other != usual)][: max(1, n)]
                tried = "one share and kind" if n < 2 else f"{n} of the shares and kinds"
                self.cut.append(f"Only {tried} tried on validation data, for lack of time.")
            if len(candidates) == 1:
                return usual
        arms = {self._arm(kind, pools[kind].rows, share, named=True): (kind, share) for kind, share in candidates}
        means = trials.try_out(ground, list(arms), self.at, name=CHOICE, seeds=CHOICE_SEEDS, steps=steps)
        best = max(arms, key=lambda arm: means[arm.name])
        kind, share = arms[best]
        self.at.progress.say(f"Of {len(arms)} ways to use samples, this does best on validation data: {best.sentence}")
        return kind, share

    def _arm(self, kind: str, rows: tuple[Row, ...], share: float, *, named: bool = False) -> Arm:
        percent = round(100 * share)
        told = f"{percent} % of each batch are variations of rows that are learned last."
        if kind == SYNTHETIC:
            told = f"{percent} % of each batch are new samples."
        return Arm(f"{kind}-{percent}" if named else kind, told, lambda way: way.learning_from(rows, share=share))

    def _plain(self, mixtures: Samples, table: Table, share: float) -> Arm:
        """Mixtures of two rows of a class, and real rows once more, in the place of samples: equal compute without a generator."""
        blends = [sample_row(mixtures.folder, one) for one in mixtures.read()]
        again = [replace(row, id=f"synthetic:again/{row.id}", origin="synthetic") for row in table.rows]
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(again))[: len(blends)]
        rows = (*blends, *(again[place] for place in order.tolist()))
        told = f"{100 * share:.0f} % of each batch are mixtures of two rows of a class, or rows once more."
        return Arm(MIXED, told, lambda way: way.learning_from(rows, share=share))

    def _finetune(self) -> str:
        """The command that fine-tunes on the same rows, split as they are."""
        data = self.ground.recipe.data
        settings = [f"{name}={value}" for name, value in given_settings(self.ground.manifest).items()]
        words = [
            "ouvroir",
            "finetune",
            str(self.run.path),
            data.source,
            *(one for pair in settings for one in ("--set", pair)),
        ]
        return shlex.join(words)

    def _without_samples(self, generator: Run, pool: Assessed) -> Untried:
        """What is said when too few samples are left to try."""
        return Untried(
            f"{len(pool.rows)} of {len(pool.samples)} samples were kept, which is too few to try. "
            f"{pool.folder / assessing.REFUSED} says why the others were refused. {generating.anew(generator)}"
        )

    def _keep(self, kind: str, share: float, rows: tuple[Row, ...], found: Mapping[str, Any]) -> None:
        verdict = found["arms"][kind]["verdict"]
        if verdict == "admitted":
            said = [
                f"{len(rows)} samples were admitted, as {100 * share:.0f} % of each batch.",
                "The test items decided on this, so what they say of a model that learned from samples flatters it a little.",
            ]
        else:
            said = ["No samples were admitted: what is trained learns from real data alone."]
        digest = trials.rows_digest(rows)
        self.run.write_json(
            admitting.OUTCOME, {"verdict": verdict, "kind": kind, "share": share, "rows": digest, "said": said}
        )
        for sentence in said:
            self.at.progress.say(sentence)
        if verdict == "admitted" and self.run.state == "finished":
            self.at.progress.say(f"`{self._finetune()}` learns from them.")


def _varies(generator: Run) -> bool:
    """Whether the generator can make variations of rows: the flow begins anywhere, others only from nothing."""
    task = find_task(generator.recipe().task)
    return isinstance(task, Synthesiser) and task.varies
