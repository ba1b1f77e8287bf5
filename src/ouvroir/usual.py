"""What most tasks answer to questions of `Task` that only a few have an answer of their own to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ouvroir.constants import ALL
from ouvroir.task import Control, Note, Processor, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.recipe import Recipe, Value


class Usual:
    """One way to build a model, learned at the rates and for the length that were proposed, of rows that speak for themselves."""

    draw: ClassVar[str] = "row"
    controls: ClassVar[tuple[Control, ...]] = ()

    def notes_on(self, rows: Sequence[Row]) -> list[Note]:
        """None beside what is said of the rows of all tasks."""
        del rows
        return []

    def worked_out(self, processor: Processor) -> Mapping[str, Value]:
        """Nothing: the recipe has it all."""
        del processor
        return {}

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """All four, as in classifiers."""
        del recipe
        return {one.name: one.use for one in ALL}

    def suited(self, recipe: Recipe, manifest: Manifest) -> Recipe:
        """As it is: rates and length suit all options."""
        del manifest
        return recipe

    def rivals(self, recipe: Recipe, manifest: Manifest) -> Mapping[str, Mapping[str, Value]]:
        """None: one way to build a model is trained, and fine-tuned."""
        del recipe, manifest
        return {}
