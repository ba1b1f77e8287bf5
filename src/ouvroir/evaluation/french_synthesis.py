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
    "The test items were looked at before ({n}), so the interval is widened.": (
        "Les éléments de test ont déjà été consultés ({n}) : l’intervalle est élargi d’autant."
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
    "{n} samples were admitted, as {m} % of each batch.": (
        "{n} éléments synthétiques ont été admis, à raison de {m} % de chaque lot."
    ),
    "No samples were admitted: what is trained learns from real data alone.": (
        "Aucun élément synthétique n’a été admis : ce qui est entraîné n’apprend que des données réelles."
    ),
    "Synthetic data were not tried.": "Les données synthétiques n’ont pas été mises à l’essai.",
    "{n} of {m} samples were kept, which is too few to try. {a} says why the others were refused.": (
        "{n} éléments sur {m} ont été gardés : c’est trop peu pour un essai. {a} dit pourquoi les autres ont été écartés."
    ),
    "With --minutes {a} each training of the trial would have less than {n} % of its steps, which says nothing of whole ones. "
    "--minutes {m} is enough here.": (
        "Avec --minutes {a}, chaque entraînement de l’essai aurait moins de {n} % de ses pas, ce qui ne dit rien d’un entraînement "
        "entier. Ici, --minutes {m} suffit."
    ),
    "With --minutes {a} the generator would have {n} of the {m} steps that it needs, and what it made would be hardly more than "
    "noise. --minutes {k} is enough here.": (
        "Avec --minutes {a}, le générateur ferait {n} des {m} pas qu’il lui faut, et ce qu’il produirait ne serait guère que du "
        "bruit. Ici, --minutes {k} suffit."
    ),
    "The generator had {n} of the {m} steps that it needs, and what it makes is hardly more than noise.": (
        "Le générateur a fait {n} des {m} pas qu’il lui faut, et ce qu’il produit n’est guère que du bruit."
    ),
    "`{a}` trains one that has enough.": "`{a}` en entraîne un qui en fait assez.",
    "The generator diverged: its loss became NaN or infinite.": "Le générateur a divergé : sa perte n’est plus un nombre.",
    "All {n} samples of `{a}` are the same: the generator of {b} has collapsed.": (
        "Les {n} éléments de `{a}` sont identiques : le générateur de {b} s’est effondré."
    ),
    "All {n} samples are the same: the generator of {a} has collapsed.": (
        "Les {n} éléments sont identiques : le générateur de {a} s’est effondré."
    ),
    "Train it anew, longer, on more data or with a lower rate, e.g. --set optim.lr=5e-4.": (
        "Entraînez-le à nouveau, plus longtemps, sur plus de données ou avec un taux plus bas, par exemple --set optim.lr=5e-4."
    ),
    "Delete {a}, and `ouvroir prove {b} --minutes N` trains another one, longer with more minutes.": (
        "Supprimez {a} ; `ouvroir prove {b} --minutes N` en entraîne un autre, plus longtemps si on lui donne plus de minutes."
    ),
    "{n} train rows are too few to judge samples by: halves of them must both hold two classes. Add data.": (
        "{n} éléments d’entraînement ne suffisent pas pour juger les éléments synthétiques : chacune de leurs moitiés doit "
        "avoir deux classes. Ajoutez des données."
    ),
    "There are no samples in {a}. `ouvroir generate` makes some.": (
        "Il n’y a pas d’éléments synthétiques dans {a}. `ouvroir generate` en fabrique."
    ),
    "A model of {a} makes samples. Whether they help is tried with a model that learned the classes: give a run of one.": (
        "Un modèle de {a} fabrique des éléments. Qu’ils aident s’essaie avec un modèle qui a appris les classes : donnez une "
        "exécution d’un tel modèle."
    ),
    "Nothing can make samples for {a} yet. Other arms can be tried: --set, --arm.": (
        "Rien ne sait encore fabriquer d’éléments pour {a}. D’autres essais sont possibles : --set, --arm."
    ),
    "Samples with several labels at once cannot be made yet. Other arms can be tried: --set, --arm.": (
        "Des éléments à plusieurs étiquettes ne peuvent pas encore être fabriqués. D’autres essais sont possibles : --set, --arm."
    ),
    "The tuned model starts from pretrained weights; {a} tries them with the base model.": (
        "Le modèle affiné part de poids préentraînés ; {a} les essaie avec le modèle de base."
    ),
    "A batch of {n} has no room for synthetic rows beside real ones. Train with a larger loop.batch_size.": (
        "Un lot de {n} n’a pas de place pour des éléments synthétiques à côté de réels. Entraînez avec "
        "un loop.batch_size plus grand."
    ),
    "The training of `{a}` with seed {n} diverged. {all}": (
        "L’entraînement de `{a}` avec la graine {n} a divergé : sa perte n’est plus un nombre."
    ),
    "The job went on without them, as was asked for.": "Le travail a continué sans elles, comme demandé.",
    "Several processes trained here; {a} tries them in one.": (
        "L’entraînement s’est fait en plusieurs processus ; {a} les essaie en un seul."
    ),
    "Independent items in the {a} split: {n}. On fewer than {m} no difference that matters can be told from chance; to see a "
    "gain of {k} points takes about {l}.": (
        "Éléments indépendants du jeu de {a} : {n}. Sur moins de {m} aucune différence qui compte ne se distingue du hasard ; "
        "il en faut environ {l} pour voir un gain de {k} points."
    ),
    "Add data: with {n} independent items in all, split as these are, a trial can begin.": (
        "Ajoutez des données : avec {n} éléments indépendants en tout, répartis comme ceux-ci, un essai est possible."
    ),
    "Add data, or train again with more of them set aside: --set data.{a}={b}.": (
        "Ajoutez des données, ou entraînez à nouveau en en réservant davantage : --set data.{a}={b}."
    ),
    "{n} seeds can admit nothing here: it takes {m}.": "{n} graines ne peuvent rien faire admettre ici : il en faut {m}.",
    "The test items decided on this, so what they say of a model that learned from samples flatters it a little.": (
        "Les éléments de test en ont décidé : ce qu’ils disent d’un modèle qui a appris des éléments synthétiques le flatte un peu."
    ),
}
