"""French for what trials and scores of synthetic data say in English: a part of what `french.in_french` knows."""

from __future__ import annotations

SENTENCES_OF_TRIALS: dict[str, str] = {
    # what the arms of a trial do
    "A tenth of each batch is synthetic.": "Un dixième de chaque lot est synthétique.",
    "A quarter of each batch is synthetic.": "Un quart de chaque lot est synthétique.",
    "Half of each batch is synthetic.": "La moitié de chaque lot est synthétique.",
    "A tenth of each batch is interpolated between real samples of a class.": (
        "Un dixième de chaque lot est interpolé entre des éléments réels d’une même classe."
    ),
    "A quarter of each batch is interpolated between real samples of a class.": (
        "Un quart de chaque lot est interpolé entre des éléments réels d’une même classe."
    ),
    "Half of each batch is interpolated between real samples of a class.": (
        "La moitié de chaque lot est interpolée entre des éléments réels d’une même classe."
    ),
    # what was cut
    "{n} seeds instead of {m}, to stay near {k} minutes.": (
        "{n} graines au lieu de {m}, pour rester aux environs de {k} minutes."
    ),
    # what scores look at
    "A classifier trained on the other half of the train rows, for each half.": (
        "Un classifieur entraîné sur l’autre moitié des éléments d’entraînement, pour chaque moitié."
    ),
    # what was done with synthetic data
    "No samples were admitted: the tuned model learned from real data alone.": (
        "Aucun élément n’a été admis : le modèle affiné n’a appris que des données réelles."
    ),
}
