"""Short texts to try things on, made by a small grammar: reviews of products and notes from a town, in English and French.

They exist for trying and for tests. What decides the class is said with negations, comparisons and turns of mind, and some texts
are truly ambiguous, so that no model is always right; results on them say nothing of real texts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ouvroir.data.listing import mark_as_made

N_TEXTS = 900


def _several(values: str) -> list[str]:
    return values.split(" | ")


_THINGS = {
    "en": _several(
        "kettle | lamp | backpack | headset | kitchen scale | bicycle light | rain jacket | desk chair | "
        "coffee grinder | phone case"
    ),
    "fr": _several(
        "bouilloire | lampe | gourde | enceinte | balance de cuisine | veste de pluie | chaise de bureau | "
        "cafetière | valise | trottinette"
    ),
}
_GOOD = {
    "en": _several(
        "it does exactly what I hoped for | the finish is better than the price suggests | "
        "it has not let me down once | I would buy it again without a second thought | "
        "everybody at home fights over it | it works as well as on the first day | "
        "the delivery was early and nothing was missing | it is hard to find anything wrong with it"
    ),
    "fr": _several(
        "elle fait exactement ce que j’espérais | la finition vaut bien plus que son prix | "
        "elle ne m’a jamais déçue | je la rachèterais les yeux fermés | tout le monde à la maison se la dispute | "
        "elle marche comme au premier jour | la livraison était en avance et rien ne manquait | "
        "difficile de lui trouver un défaut"
    ),
}
_BAD = {
    "en": _several(
        "it broke after two days | it does not do what the box promises | the smell has not gone away in a month | "
        "I would not give it to anyone I like | one of the screws was missing | the instructions are a bad joke | "
        "it is louder than the one it replaced | the money would have been better spent elsewhere"
    ),
    "fr": _several(
        "elle a cassé au bout de deux jours | elle ne fait pas ce que promet la boîte | "
        "l’odeur n’est pas partie en un mois | je ne l’offrirais à personne que j’aime bien | il manquait une vis | "
        "le mode d’emploi est une mauvaise blague | elle est plus bruyante que l’ancienne | "
        "l’argent aurait été mieux dépensé ailleurs"
    ),
}
_OPENINGS = {
    "en": _several(
        "Bought this {thing} in {month}: | About the {thing}: | After {n} weeks with the {thing}, | "
        "A {thing} for my sister: | {stars} for this {thing}."
    ),
    "fr": _several(
        "Achat de cette {thing} en {month} : | À propos de la {thing} : | Après {n} semaines avec la {thing}, | "
        "Une {thing} pour ma sœur : | {stars} pour cette {thing}."
    ),
}
_TURNS = {
    "en": _several(
        "{first}, but {last}. | I was told that {first}. In truth {last}. | {first}? Not quite: {last}. | "
        "At first {first}; since then {last}."
    ),
    "fr": _several(
        "{first}, mais {last}. | On m’avait dit : {first}. En vérité, {last}. | {first} ? Pas tout à fait : {last}. | "
        "Au début, {first} ; depuis, {last}."
    ),
}
_NOTES = {
    "en": _several(
        "The town council meets on {day} at {hour} to vote on the new tram line. | "
        "The library on {street} Street stays closed until {day} for repairs. | "
        "{n} volunteers cleaned the banks of the river on {day}. | "
        "The match between the harbour and the old town ended {a} to {b}. | "
        "A lorry blocked {street} Street for {n} hours on {day}; nobody was hurt. | "
        "The bakery on {street} Street won the prize for the best loaf again."
    ),
    "fr": _several(
        "Le conseil municipal se réunit {day} à {hour} pour voter la nouvelle ligne de tramway. | "
        "La bibliothèque de la rue {street} reste fermée jusqu’à {day} pour travaux. | "
        "{n} bénévoles ont nettoyé les berges de la rivière {day}. | "
        "Le match entre le port et la vieille ville s’est terminé sur le score de {a} à {b}. | "
        "Un camion a bloqué la rue {street} pendant {n} heures {day} ; personne n’a été blessé. | "
        "La boulangerie de la rue {street} remporte encore le prix du meilleur pain."
    ),
}
_MONTHS = {
    "en": _several("January | March | June | October"),
    "fr": _several("janvier | mars | juin | octobre"),
}
_DAYS = {
    "en": _several("Monday | Thursday | Saturday"),
    "fr": _several("lundi | jeudi | samedi"),
}
_STREETS = {
    "en": _several("Mill | Church | Station | Elm"),
    "fr": _several("du Moulin | de l’Église | de la Gare | des Ormes"),
}
_STARS = {
    "en": _several("One star | Three stars | Four stars | Five stars"),
    "fr": _several("Une étoile | Trois étoiles | Quatre étoiles | Cinq étoiles"),
}


def write_reviews(folder: Path, *, n_texts: int = N_TEXTS, seed: int = 0) -> int:
    """Write texts in folders good, bad and note as .txt files, half of them French. Returns the number of files."""
    rng = np.random.Generator(np.random.PCG64(seed))
    seen: set[str] = set()
    number = 0
    while number < n_texts:
        label = ("good", "bad", "note")[number % 3]
        language = "en" if (number // 3) % 2 == 0 else "fr"
        text = _note(rng, language) if label == "note" else _review(rng, language, is_good=label == "good")
        if text in seen:
            continue
        seen.add(text)
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"text_{number + 1:04d}.txt").write_text(f"{text}\n", encoding="utf-8")
        number += 1
    mark_as_made(folder)
    return number


def write_gazette(folder: Path, *, n_lines: int = 1500, seed: int = 0) -> int:
    """Write two files without labels, `gazette.txt` and `gazette_fr.txt`, of paragraphs of reviews and notes. Returns 2."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for language, name in (("en", "gazette.txt"), ("fr", "gazette_fr.txt")):
        paragraphs = []
        for number in range(n_lines):
            review = _review(rng, language, is_good=bool(number % 2))
            paragraphs.append(" ".join([_note(rng, language), review][:: 1 if rng.random() < 0.5 else -1]))
        (folder / name).write_text("\n".join(paragraphs) + "\n", encoding="utf-8")
    mark_as_made(folder)
    return 2


def _pick(rng: np.random.Generator, values: list[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _filled(rng: np.random.Generator, pattern: str, language: str) -> str:
    return pattern.format(
        thing=_pick(rng, _THINGS[language]),
        month=_pick(rng, _MONTHS[language]),
        day=_pick(rng, _DAYS[language]),
        street=_pick(rng, _STREETS[language]),
        stars=_pick(rng, _STARS[language]),
        hour=f"{rng.integers(8, 21)}:{rng.integers(0, 6)}0"
        if language == "en"
        else f"{rng.integers(8, 21)} h {rng.integers(0, 6)}0",
        n=rng.integers(2, 40),
        a=rng.integers(0, 5),
        b=rng.integers(0, 5),
    )


def _review(rng: np.random.Generator, language: str, *, is_good: bool) -> str:
    """An opening, then one or two opinions; where they differ, the last one is meant. One in twelve is meant otherwise."""
    meant, other = (_GOOD, _BAD) if is_good else (_BAD, _GOOD)
    if rng.random() < 1 / 12:
        meant, other = other, meant
    opening = _filled(rng, _pick(rng, _OPENINGS[language]), language)
    last, begin = _pick(rng, meant[language]), str if opening.endswith(",") else _sentence
    if rng.random() < 0.5:
        first = _pick(rng, other[language])
        return f"{opening} {begin(_pick(rng, _TURNS[language]).format(first=first, last=last))}"
    more = _pick(rng, meant[language])
    return f"{opening} {begin(last)}." if more == last else f"{opening} {begin(last)}. {_sentence(more)}."


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _note(rng: np.random.Generator, language: str) -> str:
    first, second = (_filled(rng, _pick(rng, _NOTES[language]), language) for _ in range(2))
    return first if rng.random() < 0.5 or first == second else f"{first} {second}"
