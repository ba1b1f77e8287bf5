"""What the generator of clips learns: do clips that it makes move as their class, in the eyes of a classifier that saw none?

Of the moving shapes that come with Ouvroir, one half of the scenes teaches the generator, the other the classifier.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Options, Result

STEPS = (1000,)  # of the generator
CLASSIFIER_MINUTES = 4.0
N_OF_EACH = 60


def measure(options: Options) -> Result:
    """A classifier, and the clips of a generator as it sees them."""
    import ouvroir
    from ouvroir.evaluation.intervals import wilson

    result = Result(
        name="clips",
        title="Clips that are made, in the eyes of a classifier",
        about=(
            "Moving shapes in five ways: one half of the 300 scenes teaches the generator, the other the classifier (preset small, "
            f"{CLASSIFIER_MINUTES:g} minutes), which then says how {N_OF_EACH} made clips of each class move, and how those of the "
            "generator's half do. By chance a fifth would be right."
        ),
        spread="95 % interval (Wilson)",
        seeds=[0],
    )
    with harness.workplace() as place:
        ouvroir.sample("video-classification", place / "all")
        halves = [half(place / "all", place / name, number) for number, name in enumerate(("first", "second"))]
        minutes = {"minutes": 0.2 if options.is_quick else CLASSIFIER_MINUTES}
        judge = ouvroir.train(halves[1], runs=place / "runs", **minutes)
        model = ouvroir.load(judge.path)

        def told(what: str, clips: list[tuple[Path, str | None]]) -> None:
            paths = [path for path, _ in clips]
            n_right = sum(answer.label == label for (_, label), answer in zip(clips, model.predict(paths), strict=True))
            low, high = wilson(n_right, len(paths))
            share = 100 * n_right / len(paths)
            result.add(f"{what}: taken for their class", share, "%", interval=(100 * low, 100 * high), n=len(paths))

        told("clips of the sample", [(path, path.parent.name) for path in sorted(halves[0].rglob("*.mp4"))])
        for steps in STEPS[:1] if options.is_quick else STEPS:
            n_steps = 30 if options.is_quick else steps
            begin = time.perf_counter()
            generator = ouvroir.train(
                halves[0], task="video-generation", settings={"loop.steps": n_steps}, runs=place / "runs"
            )
            result.add(f"generator, {n_steps} steps: training and judging", time.perf_counter() - begin, "s")
            made = ouvroir.generate(generator.path, count=N_OF_EACH)
            clips = list(zip(made.files, (sample.label for sample in made.samples), strict=True))
            told(f"generator, {n_steps} steps", clips)
            result.add(f"generator, {n_steps} steps: making", len(clips) / made.seconds, "clips/s")
    return result


def half(source: Path, folder: Path, number: int) -> Path:
    """Every second scene, as links."""
    for path in sorted(source.rglob("*.mp4"))[number::2]:
        place = folder / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    return folder


if __name__ == "__main__":
    harness.run(measure)
