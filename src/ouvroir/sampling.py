"""How what a model writes is drawn, for every task whose models write."""

from __future__ import annotations

from dataclasses import dataclass

from ouvroir.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What is drawn from, of all that could come next.

    temperature: 1 as the model thinks, below it more of what is likely, 0 always the most likely. top_k: of the so many most
    likely, 0 for all. top_p: of the most likely that together have this probability. min_p: of what has this share of the
    probability of the most likely. repetition_penalty: above 1 what was written is less likely to be written again. stops: strings
    before which writing ends, wherever they come in what is written: they are no part of it. most: pieces written at most.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stops: tuple[str, ...] = ()
    most: int = 256

    def __post_init__(self) -> None:
        checks = {
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_k": (self.top_k >= 0, "0, for all, or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p < 1, "from 0 to below 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0"),
            "most": (self.most >= 1, "1 or more"),
        }
        if "" in self.stops:
            raise UsageError(
                "A string to stop at is empty, and so nothing would be written. Leave it out, or name one."
            )
        for name, (is_right, text) in checks.items():
            if not is_right:
                raise UsageError(f"{name.replace('_', ' ').capitalize()} is {text}, and not {getattr(self, name)}.")
