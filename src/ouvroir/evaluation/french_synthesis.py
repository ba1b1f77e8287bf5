"""French for what trials and scores of synthetic data say in English: a part of what `french.in_french` knows."""

from __future__ import annotations

SENTENCES_OF_TRIALS: dict[str, str] = {
    # what the arms of a trial do
    "{n} % of each batch are new samples.": "{n} % de chaque lot sont de nouveaux éléments synthétiques.",
    "{n} % of each batch are variations of rows that are learned last.": (
        "{n} % de chaque lot sont des variantes des éléments appris en dernier."
    ),
    "{n} % of each batch are mixtures of two rows of a class, or rows once more.": (
        "{n} % de chaque lot sont des mélanges de deux éléments d’une même classe, ou des éléments répétés."
    ),
    "With {a}.": "Avec {a}.",
    # what was cut
    "{n} seeds instead of {m}, for lack of time.": "{n} graines au lieu de {m}, faute de temps.",
    "Trainings of {n} steps instead of {m}, for lack of time.": "Entraînements de {n} pas au lieu de {m}, faute de temps.",
    "Only one share and kind tried on validation data, for lack of time.": (
        "Une seule part et une seule sorte essayées sur les données de validation, faute de temps."
    ),
    "Only {n} of the shares and kinds tried on validation data, for lack of time.": (
        "Seules {n} des parts et sortes essayées sur les données de validation, faute de temps."
    ),
    "No choice of share and kind: {n} validation items are too few for it.": (
        "Pas de choix de la part ni de la sorte : {n} éléments de validation n’y suffisent pas."
    ),
    "{n} seeds after a look at {m}: whoever looks again and again finds a gain by chance.": (
        "{n} graines après un premier regard sur {m} : à force de regarder, on trouve un gain par hasard."
    ),
    "{a} was left after {n} seeds: no gain worth having was in reach.": (
        "{a} : abandon après {n} graines, aucun gain appréciable n’étant à portée."
    ),
    # what scores look at
    "Classifiers of the same kind as the model, each trained on the other half of the train rows.": (
        "Des classifieurs de même genre que le modèle, chacun entraîné sur l’autre moitié des éléments d’entraînement."
    ),
    "Classifiers that start from the same weights as the model, each trained on the other half of the train rows.": (
        "Des classifieurs partis des mêmes poids que le modèle, chacun entraîné sur l’autre moitié des éléments "
        "d’entraînement."
    ),
    # what was done with synthetic data
    "{n} samples were admitted, as {m} % of each batch.": "{n} éléments ont été admis, à raison de {m} % de chaque lot.",
    "No samples were admitted: what is trained learns from real data alone.": (
        "Aucun élément n’a été admis : ce qui est entraîné n’apprend que des données réelles."
    ),
    "Samples used in {a} were judged by these test items before, so the interval is widened.": (
        "Ces éléments de test ont déjà jugé d’autres emplois d’éléments synthétiques : l’intervalle est élargi d’autant."
    ),
    "Synthetic data were not tried. {n} of {m} samples were kept, which is too few to try. {a} says why the others were "
    "refused. A generator that is trained longer, or on more data, makes better ones.": (
        "Les données synthétiques n’ont pas été mises à l’essai. {n} éléments sur {m} ont été gardés : c’est trop peu pour un "
        "essai. {a} dit pourquoi les autres ont été écartés. Un générateur entraîné plus longtemps, ou sur plus de données, en "
        "fait de meilleurs."
    ),
    "Synthetic data were not tried. In {a} minutes each training of the trial would have less than {n} % of its steps, which "
    "says nothing of whole ones. It takes {m} minutes here: `{b}`.": (
        "Les données synthétiques n’ont pas été mises à l’essai. En {a} minutes, chaque entraînement de l’essai aurait moins de "
        "{n} % de ses pas, ce qui ne dit rien d’un entraînement entier. Il faut ici {m} minutes : `{b}`."
    ),
    "Synthetic data were not tried. The generator had {n} of the {m} steps that it needs, and what it makes is hardly more than "
    "noise. Delete {a}; {b} trains one that has enough.": (
        "Les données synthétiques n’ont pas été mises à l’essai. Le générateur a fait {n} des {m} pas qu’il lui faut, et ce qu’il "
        "produit n’est guère que du bruit. Supprimez {a} ; {b} en entraîne un qui en fait assez."
    ),
    "{n} seeds can admit nothing here: it takes {m}.": "{n} graines ne peuvent rien faire admettre ici : il en faut {m}.",
    "The test items decided on this, so what they say of a model that learned from samples flatters it a little.": (
        "Les éléments de test en ont décidé : ce qu’ils disent d’un modèle qui a appris des éléments synthétiques le flatte un peu."
    ),
    "Synthetic data were not tried: the model starts from pretrained weights.": (
        "Les données synthétiques n’ont pas été mises à l’essai : le modèle part de poids préentraînés."
    ),
    "Synthetic data were not tried by several processes; {a} does.": (
        "Plusieurs processus ne mettent pas de données synthétiques à l’essai ; {a} le fait."
    ),
    "Synthetic data were not tried. The test split has {n} independent items, and on fewer than {m} no difference that matters "
    "can be told from chance; to see a gain of {k} points takes about {l}. Add data, or train again with more of them set aside, "
    "e.g. --set data.test=0.4.": (
        "Les données synthétiques n’ont pas été mises à l’essai. Le jeu de test a {n} éléments indépendants, et sur moins de {m} "
        "aucune différence qui compte ne se distingue du hasard ; il en faut environ {l} pour voir un gain de {k} points. Ajoutez "
        "des données, ou entraînez à nouveau en en réservant davantage, par exemple avec --set data.test=0.4."
    ),
    "Synthetic data were not tried. {all}": (
        "Les données synthétiques n’ont pas été mises à l’essai. Le rapport anglais dit pourquoi."
    ),
}
