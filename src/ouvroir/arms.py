"""The ways to train that a trial sets beside each other. One is a few lines of Python:

    import ouvroir

    def softer(way):
        return way.having({"options.label_smoothing": 0.1})

    ouvroir.prove("last", arms=[ouvroir.Arm("softer", "Labels are smoothed by a tenth.", softer)])

An arm changes the ordinary way; everything that it leaves alone (steps, batch, schedule, seeds, rows) is the same in all.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from ouvroir import constants
from ouvroir.constants import Constant
from ouvroir.errors import DataError, UsageError
from ouvroir.recipe import ConstantName, Recipe, Value
from ouvroir.task import Row

ORDINARY, AGAIN = "ordinary", "again"
_TAKEN = ("processor", "speed")  # folders beside those of arms
_LONGEST = 60
_NAME = re.compile(r"[a-z0-9][a-z0-9_.=-]{0,59}(?<!\.)")


@dataclass(frozen=True)
class Way:
    """A recipe, and the rows that are learned from beside the real train rows: synthetic ones, each with its weight."""

    recipe: Recipe
    extra: tuple[Row, ...] = ()

    def having(self, settings: Mapping[str, Value]) -> Way:
        """The way with settings of the recipe changed, by their dotted names. Raises RecipeError."""
        return replace(self, recipe=self.recipe.with_overrides(settings))

    def learning_from(self, rows: Sequence[Row], *, share: float) -> Way:
        """The way with rows added, which make up `share` of each batch. Raises DataError for rows that do not say synthetic."""
        if wrong := [row.id for row in rows if row.origin != "synthetic"]:
            raise DataError(f"`{wrong[0]}` is not marked as synthetic, so it cannot be added as such.")
        mine = tuple(replace(row, split="train") for row in rows)
        return Way(self.recipe.replace("loop", synthetic_share=share), (*self.extra, *mine))


@dataclass(frozen=True)
class Arm:
    """A way to train under trial: `name`, unique and fit for a folder; a sentence for people; what it changes.

    Raises UsageError for a name that is none.
    """

    name: str
    sentence: str
    change: Callable[[Way], Way]

    def __post_init__(self) -> None:
        is_file = self.name.endswith((".json", ".log"))  # such as lie beside the folders of arms
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN or is_file:
            raise UsageError(
                f"`{self.name}` cannot be the name of an arm: it names a folder; use small letters, digits and -_.=, no ending "
                f".json or .log, and none of {', '.join(_TAKEN)}."
            )


@dataclass(frozen=True)
class Contrast:
    """What is compared: the mean of some arms minus the mean of others, seed by seed and item by item."""

    plus: tuple[str, ...]
    minus: tuple[str, ...] = (ORDINARY,)


@dataclass(frozen=True)
class Design:
    """Arms, and by name what is compared. The verdict in large letters is that on `chief`."""

    arms: tuple[Arm, ...]
    contrasts: Mapping[str, Contrast]
    chief: str | None = None

    @classmethod
    def of(cls, arms: Sequence[Arm], *, chief: str | None = None) -> Design:
        """Each arm against the ordinary way. Raises UsageError when two are called alike."""
        names = [arm.name for arm in arms]
        if len({ORDINARY, AGAIN, *names}) < len(names) + 2:
            raise UsageError(
                f"Two arms of a trial are called alike: {', '.join(names)}. `{ORDINARY}` and `{AGAIN}` are in it anyway."
            )
        return cls(tuple(arms), {name: Contrast((name,)) for name in names}, chief)


def short_name(name: str) -> str:
    """A name that is too long for a folder, cut, and told from others that begin alike by a digest."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - len(digest) - 1].rstrip('-_.=')}-{digest}"


def settings_arm(settings: Mapping[str, Value]) -> Arm:
    """An arm that changes settings of the recipe and nothing else. Its name is made of them."""
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    name = re.sub(r"[^a-z0-9_.=]+", "-", told.lower()).strip("-_.=")
    return Arm(short_name(name), f"With {told}.", lambda way: way.having(settings))


def arm_at(place: str) -> Arm:
    """The Arm that a person wrote, from `module:NAME`. Raises UsageError."""
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # of a person's own code, which may raise anything
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UsageError(f"The arm `{place}` could not be loaded: {said}. Name it as module:NAME.") from error
    if not isinstance(found, Arm):
        raise UsageError(f"`{place}` is no arm: it must be an ouvroir.Arm.")
    return found


def constants_design(recipe: Recipe) -> Design:
    """φ, π, 1/137 and −1/12, each against its ordinary value, in half of all sixteen combinations.

    The eight are those with an even number of ordinary values, so that each constant is on in four and off in four, and
    every other one equally often in both (a 2^(4-1) design of resolution IV; Box, Hunter and Hunter 1978, chapter 12).
    """
    names: tuple[ConstantName, ...] = get_args(ConstantName)
    here = {name: recipe.constants.value(name) for name in names}
    arms: list[Arm] = []
    cells: dict[tuple[bool, ...], str] = {}
    for on in itertools.product((True, False), repeat=len(names)):
        if sum(not one for one in on) % 2:
            continue
        settings = {f"constants.{name}": "on" if one else "off" for name, one in zip(names, on, strict=True)}
        if all(_number(name, one) == here[name] for name, one in zip(names, on, strict=True)):
            cells[on] = ORDINARY
            continue
        used = [name for name, one in zip(names, on, strict=True) if one]
        cells[on] = "with-" + ("-".join(used) or "none")
        told = ", ".join(_constant(name).symbol for name in used) or "none of the constants"
        arms.append(replace(settings_arm(settings), name=cells[on], sentence=f"With {told}."))
    contrasts: dict[str, Contrast] = {
        name: Contrast(
            tuple(cell for on, cell in cells.items() if on[place]),
            tuple(cell for on, cell in cells.items() if not on[place]),
        )
        for place, name in enumerate(names)
    }
    return Design(tuple(arms), contrasts)


def _constant(name: ConstantName) -> Constant:
    found: Constant = getattr(constants, name.upper())
    return found


def _number(name: ConstantName, is_on: bool) -> float | None:
    one = _constant(name)
    return one.value if is_on else one.ordinary
