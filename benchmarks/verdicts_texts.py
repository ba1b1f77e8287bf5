"""Verdicts on synthetic texts: paragraphs of French Wikipedia in seven topics."""

from __future__ import annotations

from benchmarks import harness, texts, verdicts
from benchmarks.harness import Options, Result


def measure(options: Options) -> Result:
    """Two sizes, and shuffled labels."""
    with harness.workplace() as place:
        return verdicts.of_medium(
            "Does synthetic data help? Topics of paragraphs",
            "verdicts_texts",
            "803 paragraphs of French Wikipedia (PIAF), split by paragraph, the rest being validation and test.",
            [(row["text"], row["label"]) for row in texts.rows()],
            place,
            options,
            generator="text-generation",
            preset="small",
            what="text",
            sizes=(15, 40),
            minutes=5.0,
        )


if __name__ == "__main__":
    harness.run(measure)
