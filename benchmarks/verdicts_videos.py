"""Verdicts on synthetic clips: moving shapes, which come with Ouvroir and are no real videos."""

from __future__ import annotations

from benchmarks import harness, verdicts
from benchmarks.harness import Options, Result


def measure(options: Options) -> Result:
    """Two sizes, and shuffled labels."""
    import ouvroir

    with harness.workplace() as place:
        ouvroir.sample("video-classification", place / "moves")
        rows = [(str(path), path.parent.name) for path in sorted((place / "moves").rglob("*.mp4"))]
        return verdicts.of_medium(
            "Does synthetic data help? Moving shapes",
            "verdicts_videos",
            "300 made clips of shapes that move in five ways, each in a scene of its own, the rest being validation and test.",
            rows,
            place,
            options,
            generator="video-generation",
            preset="tiny",
            what="file",
            sizes=(10, 30),
            minutes=7,
        )


if __name__ == "__main__":
    harness.run(measure)
