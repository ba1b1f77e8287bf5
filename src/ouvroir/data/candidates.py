"""What was found before anything is opened: candidates that may become rows, and refusals. Together they add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ouvroir.media import advice_on
from ouvroir.task import Label, Note, Refusal, Split


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may become a row: not opened yet. `size` and `stamp` as in `listing.File`; 0 for a row that is text."""

    id: str
    locator: str
    label: Label = None
    split: Split | None = None
    text: str | None = None
    group: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    stamp: int = 0


@dataclass
class Collection:
    """Everything that was found under `root` for `task`: candidates and refusals add up to what was found.

    `beside`: locators of files beside the tables of a corpus, and whether each lies in a class folder.
    """

    root: str
    task: str
    candidates: list[Candidate] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    beside: dict[str, bool] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Files and table rows found."""
        return len(self.candidates) + len(self.refused)

    def refuse(self, name: str, code: str, text: str) -> None:
        """Add a refusal; `text` is a sentence."""
        self.refused.append(Refusal(name, code, text))

    def refuse_kind(self, name: str, suffix: str) -> None:
        """Refuse a file that the task does not read."""
        if suffix == ".zip":
            text = f"`{name}` is a zip beside other files or below them. Unpack it, or give it alone."
        else:
            text = not_of_a_kind(name, suffix, self.task)
        self.refuse(name, "not_readable_here", text)

    def make_ids_unique(self) -> None:
        """Two refusals may concern one name, as with repeated entries of a zip; ids stay unique over all outcomes."""
        taken = {candidate.id for candidate in self.candidates}
        for place, refusal in enumerate(self.refused):
            name, number = refusal.id, 1
            while name in taken:
                number += 1
                name = f"{refusal.id}#{number}"
            taken.add(name)
            if number > 1:
                self.refused[place] = Refusal(name, refusal.code, refusal.reason)


def not_of_a_kind(name: str, suffix: str, task: str) -> str:
    """That `task` does not read the file `name`, and what to do with it where that is known."""
    text = f"`{name}` is not of a kind that {task} reads ({suffix or 'it has no suffix'})."
    return f"{text} {advice_on(suffix, task)}".rstrip()
