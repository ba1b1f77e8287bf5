"""Verdicts on synthetic sounds: spoken digits of six speakers."""

from __future__ import annotations

from benchmarks import harness, sounds, verdicts
from benchmarks.harness import Options, Result

MOST = 120  # recordings of each digit that are looked at: judging the rest would take most of the time


def measure(options: Options) -> Result:
    """Two sizes, and shuffled labels."""
    with harness.workplace() as place:
        rows = [(path, digit) for path, digit, _, take in sounds.unpack(place / "recordings") if take < MOST // 6]
        return verdicts.of_medium(
            "Does synthetic data help? Spoken digits",
            "verdicts_sounds",
            "Takes 0 to 19 of the Free Spoken Digit Dataset, split by recording, the rest being validation and test.",
            rows,
            place,
            options,
            generator="audio-generation",
            preset="small",
            what="file",
            sizes=(10, 40),
            minutes=6.0,
        )


if __name__ == "__main__":
    harness.run(measure)
