"""Moving shapes in scenes not seen: the network with the way that places move laid beside, and without; and what it rests on.

The shapes come with Ouvroir and are no real videos: a direction or a rhythm is the class, and colours tell nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import harness
from benchmarks.harness import Options, Result

STEPS = 300


def measure(options: Options) -> Result:
    """Equal steps, the same split and seed."""
    import ouvroir

    result = Result(
        name="videos",
        title="Moving shapes in scenes not seen",
        about=(
            "300 made clips of shapes that move in five ways, each in a scene of its own, a fifth of them as the test; "
            f"{STEPS} steps of the preset small, with `options.motion` and without. The test is answered again with the frames in "
            "another order, and with the middle frame alone. By chance a fifth would be right."
        ),
        spread="95 % interval",
        seeds=[0],
    )
    with harness.workplace() as place:
        ouvroir.sample("video-classification", place / "moves")
        for motion in (True, False):
            settings = {"loop.steps": 20 if options.is_quick else STEPS, "options.motion": motion}
            run = ouvroir.train(place / "moves", settings=settings, runs=place / "runs")
            report = run.read_json("report.json")
            what = "with motion" if motion else "without"
            kept = [("all frames", report["controls"][0]["second"])]
            kept += [(control["text"], control["first"]) for control in report["controls"]]
            cheap = [one for one in report["systems"] if one["role"] == "baseline"] if motion else []
            for name, one in kept:
                add(result, f"{what}: {name}", one, report["n_test"])
            for system in cheap:
                add(result, f"baseline: {system['name']}", system["metrics"]["accuracy"], report["n_test"])
    return result


def add(result: Result, what: str, one: Mapping[str, float], n: int) -> None:
    """A share with its interval, in percent."""
    result.add(what, 100 * one["value"], "%", interval=(100 * one["low"], 100 * one["high"]), n=n)


if __name__ == "__main__":
    harness.run(measure)
