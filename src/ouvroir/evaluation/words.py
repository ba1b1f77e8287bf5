"""Every sentence of the report in English and French, and how each language writes numbers.

`WORDS` maps a key to (English, French). Values in braces are already written out; nothing here is markup, so that the
template escapes all of it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

LanguageName = Literal["en", "fr"]
LANGUAGES: tuple[LanguageName, ...] = ("en", "fr")
_THIN = "\u202f"  # narrow no-break space

WORDS: dict[str, tuple[str, str]] = {
    # the page
    "title": ("{name} · Ouvroir report", "{name} · rapport Ouvroir"),
    "report": ("Report", "Rapport"),
    "skip": ("Skip to the results", "Aller aux résultats"),
    "footer": (
        "Made by Ouvroir. This page is one file and asks nothing of the network.",
        "Fait par Ouvroir. Cette page tient en un fichier et ne demande rien au réseau.",
    ),
    "interval_note": (
        "Square brackets hold 95 % intervals: the range in which the true value on data of the same kind probably lies.",
        "Les crochets donnent des intervalles à 95 % : là où se trouve sans doute la vraie valeur sur des données "
        "du même genre.",
    ),
    "and_more": ("and {n} more", "et {n} de plus"),
    "none": ("none", "aucun"),
    "colon": ("{name}: {value}", "{name} : {value}"),
    # sections
    "section_side_by_side": ("Side by side", "Côte à côte"),
    "section_measures": ("How good it is", "Ce qu’il vaut"),
    "section_classes": ("Class by class", "Classe par classe"),
    "section_confusions": ("What is taken for what", "Ce qui est pris pour quoi"),
    "section_calibration": ("Can its confidence be trusted?", "Peut-on croire sa confiance ?"),
    "section_mistakes": ("Most confident mistakes", "Les erreurs les plus sûres d’elles"),
    "section_changes": ("What tuning changed", "Ce que l’affinage a changé"),
    "section_ledger": ("Every file accounted for", "Chaque fichier compté"),
    "section_samples": ("What it learnt from", "Ce dont il a appris"),
    "section_mislabels": ("Labels worth a second look", "Étiquettes à revoir"),
    "section_curves": ("Learning", "Apprentissage"),
    "section_cost": ("Time and size", "Temps et taille"),
    "section_use": ("Use the model", "Utiliser le modèle"),
    "section_settings": ("Settings", "Réglages"),
    "section_environment": ("Environment", "Environnement"),
    # who
    "role_baseline": ("cheap baseline", "repère simple"),
    "role_base": ("base model", "modèle de base"),
    "role_tuned": ("tuned model", "modèle affiné"),
    "the_base": ("The base model", "Le modèle de base"),
    "the_tuned": ("The tuned model", "Le modèle affiné"),
    "the_only": ("The model", "Le modèle"),
    "only_model": ("model", "modèle"),
    "kept": ("kept", "retenu"),
    # metrics
    "metric_accuracy": ("accuracy", "exactitude"),
    "metric_subset_accuracy": ("all labels right", "toutes étiquettes justes"),
    "metric_top5": ("top 5", "parmi les 5 premières"),
    "metric_balanced_accuracy": ("balanced accuracy", "exactitude équilibrée"),
    "metric_macro_f1": ("macro F1", "F1 macro"),
    "metric_micro_f1": ("micro F1", "F1 micro"),
    "metric_nll": ("negative log-likelihood", "log-vraisemblance négative"),
    "metric_loss": ("loss", "perte"),
    "metric_perplexity": ("perplexity", "perplexité"),
    "metric_brier": ("Brier score", "score de Brier"),
    "metric_ece": ("calibration error", "erreur de calibration"),
    "higher_better": ("higher is better", "plus haut, c’est mieux"),
    "lower_better": ("lower is better", "plus bas, c’est mieux"),
    # verdict
    "verdict_accuracy": (
        "{who} answers {value} of {n} unseen items correctly {interval}.",
        "{who} répond juste sur {value} des {n} éléments jamais vus {interval}.",
    ),
    "verdict_subset_accuracy": (
        "{who} finds exactly the right labels for {value} of {n} unseen items {interval}.",
        "{who} trouve exactement les bonnes étiquettes de {value} des {n} éléments jamais vus {interval}.",
    ),
    "verdict_share": (
        "{who} reaches {value} {metric} on {n} unseen items {interval}.",
        "{who} atteint {value} de {metric} sur {n} éléments jamais vus {interval}.",
    ),
    "verdict_number": (
        "{who} has a {metric} of {value} on {n} unseen items {interval}; {direction}.",
        "{who} a une {metric} de {value} sur {n} éléments jamais vus {interval} ; {direction}.",
    ),
    "verdict_none": (
        "Nothing was measured: there were no unseen items to judge a model on.",
        "Rien n’a été mesuré : il n’y avait pas d’éléments jamais vus pour juger un modèle.",
    ),
    "verdict_none_next": (
        "Do not trust the model before it has been judged: give the data a test split and evaluate it.",
        "Ne vous fiez pas au modèle avant de l’avoir jugé : donnez une part de test aux données et évaluez-le.",
    ),
    "against_better": (
        "The best cheap baseline, {name}, gets {value}: the model is ahead by {gap}.",
        "Le meilleur repère simple, {name}, obtient {value} : le modèle le devance de {gap}.",
    ),
    "against_same": (
        "The best cheap baseline, {name}, gets {value}: no measurable difference ({gap}). A cheap method may do as well.",
        "Le meilleur repère simple, {name}, obtient {value} : pas de différence mesurable ({gap}). Une méthode simple "
        "suffit peut-être.",
    ),
    "against_worse": (
        "The best cheap baseline, {name}, gets {value} and is ahead of the model ({gap}). Use the baseline, or more data.",
        "Le meilleur repère simple, {name}, obtient {value} et devance le modèle ({gap}). Prenez le repère, ou plus de "
        "données.",
    ),
    "tuning_better": (
        "Tuning helped: {gap} over the base model ({fixed} items fixed, {broken} broken).",
        "L’affinage a aidé : {gap} par rapport au modèle de base ({fixed} éléments corrigés, {broken} perdus).",
    ),
    "tuning_same": (
        "Tuning made no measurable difference to the base model ({gap}); {smallest} or more would probably have been "
        "seen.",
        "L’affinage n’a pas fait de différence mesurable avec le modèle de base ({gap}) ; {smallest} ou plus se seraient "
        "sans doute vus.",
    ),
    "tuning_worse": (
        "Tuning did harm: {gap} against the base model ({fixed} items fixed, {broken} broken).",
        "L’affinage a nui : {gap} par rapport au modèle de base ({fixed} éléments corrigés, {broken} perdus).",
    ),
    "kept_on_validation": (
        "Which of the two to keep was decided on validation data, without a look at these test items.",
        "Lequel des deux garder a été décidé sur les données de validation, sans regarder ces éléments de test.",
    ),
    "kept_without_validation": (
        "There were no validation data to choose by, so the base model was kept.",
        "Il n’y avait pas de données de validation pour choisir : le modèle de base a été gardé.",
    ),
    "few_items": (
        "With {n} test items the intervals are wide. More test items make them narrower.",
        "Avec {n} éléments de test, les intervalles sont larges. Plus d’éléments de test les resserrent.",
    ),
    # tiles
    "tile_judged": ("unseen items judged", "éléments jamais vus jugés"),
    "tile_train": ("items to learn from", "éléments pour apprendre"),
    "tile_classes": ("classes", "classes"),
    "tile_training": ("of training", "d’entraînement"),
    "tile_size": ("model size", "taille du modèle"),
    # side by side
    "side_by_side_lead": (
        "Everyone answers the same {n} unseen items. The dot is the value, the line its 95 % interval.",
        "Tous répondent aux mêmes {n} éléments jamais vus. Le point est la valeur, le trait son intervalle à 95 %.",
    ),
    "axis_cut": ("The axis does not begin at 0.", "L’axe ne commence pas à 0."),
    "equal_steps": (
        "Base and tuned model had the same number of training steps in all ({steps}), so more training does not pass "
        "for a gain.",
        "Le modèle de base et le modèle affiné ont eu en tout le même nombre de pas ({steps}) : entraîner plus ne passe "
        "pas pour un gain.",
    ),
    "unequal_steps": (
        "Training steps in all: {steps}. They are not equal, so part of a difference may come from training more.",
        "Pas d’entraînement en tout : {steps}. Ils diffèrent : une part de l’écart peut venir d’un entraînement plus "
        "long.",
    ),
    "all_measures": ("All measures", "Toutes les mesures"),
    "system": ("system", "système"),
    "paired": ("Paired differences", "Différences appariées"),
    "paired_lead": (
        "Two systems on the same items, item by item. This can show smaller differences than comparing the intervals "
        "above. The intervals cover the chance in the choice of items, not the chance in training: another seed would "
        "move the values a little.",
        "Deux systèmes sur les mêmes éléments, un à un. Cela montre des différences plus petites que la comparaison des "
        "intervalles ci-dessus. Les intervalles couvrent le hasard du choix des éléments, pas celui de l’entraînement : "
        "une autre graine déplacerait un peu les valeurs.",
    ),
    "pair": ("{second} against {first}", "{second} contre {first}"),
    "difference": ("difference", "différence"),
    "fixed": ("fixed", "corrigés"),
    "broken": ("broken", "perdus"),
    "p_value": ("McNemar p", "p de McNemar"),
    "smallest": ("smallest visible", "plus petite visible"),
    "finding": ("finding", "constat"),
    "found_better": ("better", "mieux"),
    "found_worse": ("worse", "moins bien"),
    "found_same": ("no measurable difference", "pas de différence mesurable"),
    "smallest_note": (
        "Smallest visible: a true difference of this size would be found in 4 of 5 tests like this one.",
        "Plus petite visible : une vraie différence de cette taille serait trouvée par 4 tests comme celui-ci sur 5.",
    ),
    "smallest_alone": (
        "A test set of {n} items can show a difference of {size} or more between two systems like these.",
        "Un jeu de {n} éléments peut montrer une différence de {size} ou plus entre deux systèmes comme ceux-ci.",
    ),
    "points": ("{value} points", "{value} points"),
    # classes
    "classes_lead": (
        "Recall: of the items of a class, how many were found. Precision: of the answers naming it, how many were right.",
        "Rappel : parmi les éléments d’une classe, combien sont trouvés. Précision : parmi les réponses qui la nomment, "
        "combien sont justes.",
    ),
    "class": ("class", "classe"),
    "support": ("items", "éléments"),
    "answered": ("answered", "répondus"),
    "precision": ("precision", "précision"),
    "recall": ("recall", "rappel"),
    "f1": ("F1", "F1"),
    "weakest_class": (
        "Weakest class: {label}, with {recall} of its {n} items found {interval}.",
        "Classe la plus faible : {label}, dont {recall} des {n} éléments sont trouvés {interval}.",
    ),
    # confusions
    "confusion_alt": (
        "Confusion matrix of {n} classes: rows are the given labels, columns the answers.",
        "Matrice de confusion de {n} classes : les lignes sont les étiquettes données, les colonnes les réponses.",
    ),
    "confusion_rows": ("given label", "étiquette donnée"),
    "confusion_columns": ("answer", "réponse"),
    "confusion_cell": (
        "{count} of {total} {given} were answered {answer}",
        "{count} des {total} {given} ont reçu la réponse {answer}",
    ),
    "confusion_lead": (
        "Shade is the share of the row. Blue on the diagonal is right, orange beside it is wrong.",
        "La teinte est la part de la ligne. Le bleu de la diagonale est juste, l’orange à côté est faux.",
    ),
    "confusion_top": ("Most frequent confusions", "Confusions les plus fréquentes"),
    "confusion_none": ("Not one item was answered wrongly.", "Aucun élément n’a reçu de réponse fausse."),
    "confusion_item": ("{given} taken for {answer}", "{given} pris pour {answer}"),
    "of_row": ("{count} of {total}", "{count} sur {total}"),
    # calibration
    "calibration_lead": (
        "When it says 80 %, is it right 8 times in 10? On the dashed line, confidence and truth agree; below it the "
        "model is too sure of itself.",
        "Quand il dit 80 %, a-t-il raison 8 fois sur 10 ? Sur la ligne en tirets, confiance et vérité s’accordent ; "
        "en dessous, le modèle est trop sûr de lui.",
    ),
    "calibration_over": (
        "On average it claims {said} and is right {right} of the time: it is too sure by {gap}.",
        "En moyenne il annonce {said} et a raison {right} du temps : trop sûr de {gap}.",
    ),
    "calibration_under": (
        "On average it claims {said} and is right {right} of the time: it could be surer by {gap}.",
        "En moyenne il annonce {said} et a raison {right} du temps : il pourrait être plus sûr de {gap}.",
    ),
    "calibration_even": (
        "On average it claims {said} and is right {right} of the time: the two agree, as far as this test can tell.",
        "En moyenne il annonce {said} et a raison {right} du temps : les deux s’accordent, autant que ce test le dise.",
    ),
    "calibration_labels": (
        "Label by label it claims {said} on average, and {right} of the labels apply.",
        "Étiquette par étiquette, il annonce {said} en moyenne, et {right} des étiquettes s’appliquent.",
    ),
    "calibration_alt": (
        "Calibration curve: share of right answers against confidence, in {n} bins.",
        "Courbe de calibration : part de réponses justes selon la confiance, en {n} tranches.",
    ),
    "confidence": ("confidence", "confiance"),
    "share_right": ("share right", "part de justes"),
    "calibration_bin": (
        "confidence {start} to {end}: {right} right of {n} {interval}",
        "confiance de {start} à {end} : {right} justes sur {n} {interval}",
    ),
    "threshold": (
        "With --threshold auto the model answers “none of these” under a confidence of {value}: on validation data that "
        "kept {keep} of its right answers.",
        "Avec --threshold auto, le modèle répond « rien de cela » sous une confiance de {value} : sur les données de "
        "validation, il gardait ainsi {keep} de ses réponses justes.",
    ),
    # mistakes
    "mistakes_lead": (
        "The {shown} of {n} mistakes it was most sure of. Some of them may be wrong labels.",
        "Les {shown} erreurs sur {n} dont il était le plus sûr. Certaines sont peut-être de mauvaises étiquettes.",
    ),
    "mistakes_none": (
        "It made no mistake on these {n} items. That does not mean it never will.",
        "Aucune erreur sur ces {n} éléments. Cela ne veut pas dire qu’il n’en fera jamais.",
    ),
    "given": ("given", "donné"),
    "answer": ("answer", "réponse"),
    "base_said": ("base said", "base disait"),
    "tuned_said": ("tuned says", "affiné dit"),
    "suggested": ("suggested", "proposé"),
    "fixed_title": ("Fixed: only the tuned model is right ({n})", "Corrigés : seul le modèle affiné a raison ({n})"),
    "broken_title": ("Broken: only the base model is right ({n})", "Perdus : seul le modèle de base a raison ({n})"),
    "not_shown": ("not shown here", "non montré ici"),
    "sample_of": ("Sample {name}", "Élément {name}"),
    # data
    "ledger_sum": (
        "{found} found = {admitted} admitted + {refused} refused.",
        "{found} trouvés = {admitted} admis + {refused} refusés.",
    ),
    "refused_why": ("Refused, and why", "Refusés, et pourquoi"),
    "reason": ("reason", "raison"),
    "count": ("count", "nombre"),
    "all_refusals": ("The refused files", "Les fichiers refusés"),
    "file": ("file", "fichier"),
    "splits": ("Splits", "Répartition"),
    "split_train": ("train", "entraînement"),
    "split_validation": ("validation", "validation"),
    "split_test": ("test", "test"),
    "total": ("total", "total"),
    "no_label": ("no label", "sans étiquette"),
    "notes": ("Notes", "Remarques"),
    "groups": (
        "{n} groups of related items; a group never spans two splits.",
        "{n} groupes d’éléments liés ; un groupe ne s’étend jamais sur deux parts.",
    ),
    "synthetic": (
        "{n} of the training items are synthetic; none of the validation and test items is.",
        "{n} éléments d’entraînement sont synthétiques ; aucun de ceux de validation et de test.",
    ),
    "multi_label_counts": (
        "An item may have several labels, so columns add up to more than the items.",
        "Un élément peut avoir plusieurs étiquettes : les colonnes dépassent le nombre d’éléments.",
    ),
    "fingerprint": ("Fingerprint of the data", "Empreinte des données"),
    "samples_lead": ("Some training items, as given.", "Quelques éléments d’entraînement, tels que donnés."),
    "mislabels_lead": (
        "Items whose given label is doubted most: test items by the model, which had not seen them; training items by a "
        "classifier that had not seen them, on features that had, so mistakes learnt by heart may hide. Look before you "
        "change anything.",
        "Éléments dont l’étiquette est le plus mise en doute : ceux de test par le modèle, qui ne les avait pas vus ; ceux "
        "d’entraînement par un classifieur qui ne les avait pas vus, sur des traits qui les avaient vus : des erreurs "
        "apprises par cœur peuvent rester cachées. Regardez avant de changer.",
    ),
    # training
    "curve_loss": ("Training loss", "Perte d’entraînement"),
    "curve_validation": ("Validation {metric}", "{metric} de validation"),
    "curve_alt": (
        "{title} over {steps} steps; {ends}.",
        "{title} sur {steps} pas ; {ends}.",
    ),
    "curve_end": ("{name} ends at {value}", "{name} finit à {value}"),
    "step": ("step", "pas"),
    "curve_point": ("{name}, step {step}: {value}", "{name}, pas {step} : {value}"),
    # cost
    "cost_check": ("reading and checking", "lecture et contrôle"),
    "cost_pack": ("packing", "empaquetage"),
    "cost_train": ("training", "entraînement"),
    "cost_evaluate": ("evaluating", "évaluation"),
    "cost_baselines": ("cheap baselines", "repères simples"),
    "cost_bundle": ("writing the model", "écriture du modèle"),
    "cost_report": ("reporting", "rapport"),
    "device": ("device", "appareil"),
    "items_per_second": ("items per second while training", "éléments par seconde à l’entraînement"),
    "parameters": ("parameters", "paramètres"),
    "model_bytes": ("size of the weights", "taille des poids"),
    "energy": ("energy", "énergie"),
    "energy_unknown": ("not measured, so not claimed", "non mesurée, donc non affichée"),
    "versions": ("Versions and machine", "Versions et machine"),
    # use
    "use_command_line": ("On the command line", "En ligne de commande"),
    "use_python": ("In Python", "En Python"),
    "use_predict": ("answer new files", "répondre sur de nouveaux fichiers"),
    "use_evaluate": ("judge it on other labelled data", "le juger sur d’autres données étiquetées"),
    "use_finetune": ("go on with your own data", "continuer avec vos données"),
    "use_export": ("carry it elsewhere", "l’emporter ailleurs"),
    "use_report": ("this report in French", "ce rapport en anglais"),
    # settings
    "settings_lead": ("Everything that decided this training.", "Tout ce qui a décidé de cet entraînement."),
    "constants": ("The constants", "Les constantes"),
    "constants_lead": (
        "Part of the model by wish of the people it is made for. What each brings is measured, never claimed.",
        "Elles font partie du modèle par le souhait de ceux pour qui il est fait. Ce que chacune apporte se mesure, "
        "sans rien promettre.",
    ),
    "all_settings": ("All settings", "Tous les réglages"),
    "setting": ("setting", "réglage"),
    "value": ("value", "valeur"),
    "meaning": ("meaning", "sens"),
    "used": ("used", "employée"),
    "ordinary": ("ordinary", "ordinaire"),
    "use": ("use", "usage"),
    "constant": ("constant", "constante"),
    "constant_phi": (
        "Hidden widths of the head fall by this ratio.",
        "Les largeurs cachées de la tête décroissent selon ce rapport.",
    ),
    "constant_pi": ("Temperature of attention.", "Température de l’attention."),
    "constant_alpha": (
        "Initial scale of each residual branch.",
        "Échelle initiale de chaque branche résiduelle.",
    ),
    "constant_zeta": (
        "Coefficient on the entropy of predictions in the loss.",
        "Coefficient de l’entropie des prédictions dans la perte.",
    ),
    # names that tasks and admission give in English
    "name_most frequent class": ("most frequent class", "classe la plus fréquente"),
    "name_logistic regression on simple features": (
        "logistic regression on simple features",
        "régression logistique sur des traits simples",
    ),
    "name_nearest neighbours on simple features": (
        "nearest neighbours on simple features",
        "plus proches voisins sur des traits simples",
    ),
    "of_rows": ("{name} (learned from {n} rows)", "{name} (appris sur {n} éléments)"),
    "code_changed": ("changed while it was read", "modifié pendant la lecture"),
    "code_crashed": ("crashed the decoder", "a fait tomber le décodeur"),
    "code_damaged": ("damaged", "abîmé"),
    "code_empty": ("empty file", "fichier vide"),
    "code_encrypted": ("encrypted", "chiffré"),
    "code_hidden": ("hidden file", "fichier caché"),
    "code_leak": ("would leak between splits", "fuirait d’une part à l’autre"),
    "code_missing": ("missing", "absent"),
    "code_nested_archive": ("archive inside an archive", "archive dans une archive"),
    "code_no_label": ("no label", "sans étiquette"),
    "code_not_a_file": ("not a file", "pas un fichier"),
    "code_not_a_picture": ("not a picture", "pas une photo ni un dessin"),
    "code_repeated_entry": ("entry repeated in the archive", "entrée répétée dans l’archive"),
    "code_too_large": ("too large", "trop grand"),
    "code_too_many": ("too large once decoded", "trop grand une fois décodé"),
    "code_too_slow": ("took too long to read", "trop long à lire"),
    "code_too_small": ("too small", "trop petit"),
    "code_truncated": ("cut off", "tronqué"),
    "code_unreadable": ("unreadable", "illisible"),
    "code_unsafe_path": ("unsafe path", "chemin dangereux"),
    "code_unsupported_format": ("unsupported format", "format non lu"),
    "code_unusable_name": ("unusable name", "nom inutilisable"),
    "code_wrong_type": ("another kind of file", "autre sorte de fichier"),
    # units
    "unit_s": ("{n} s", "{n} s"),
    "unit_min": ("{n} min", "{n} min"),
    "unit_h": ("{n} h", "{n} h"),
    "size_units": ("B kB MB GB TB", "o ko Mo Go To"),
}


def _unbroken(text: str) -> str:
    """The text with narrow no-break spaces where a line may not end: before % and French punctuation, inside « »."""
    return re.sub(r" (?=[%:;?!»])|(?<=«) ", _THIN, text)


@dataclass(frozen=True)
class Language:
    """Writes words and numbers in one language."""

    name: LanguageName

    def __call__(self, key: str, **values: object) -> str:
        """The sentence `key` with its values filled in."""
        text = _unbroken(WORDS[key][LANGUAGES.index(self.name)])
        return text.format(**values) if values else text

    def known(self, kind: str, word: str) -> str:
        """A name that came from elsewhere, in this language where it is known, else as it came."""
        key = f"{kind}_{word}"
        return self(key) if key in WORDS else word.replace("_", " ")

    def number(self, value: float | None, digits: int = 3, *, sign: bool = False) -> str:
        """`value` with `digits` decimals; a dash where there is none."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
        text = text.replace("-", "−")
        if float(f"{value:.{digits}f}") == 0:
            text = text.lstrip("+−")
        return text if self.name == "en" else text.replace(",", _THIN).replace(".", ",")

    def count(self, value: float) -> str:
        """A whole number with separated thousands."""
        return self.number(value, 0)

    def percent(self, share: float | None, digits: int = 1) -> str:
        """A share as a percentage."""
        return "–" if share is None else f"{self.number(share * 100, digits)}{_THIN}%"

    def p(self, value: float | None) -> str:
        """A p-value: three decimals, or that it is smaller than they can say."""
        if value is None:
            return "–"
        return f"<{_THIN}{self.number(0.001)}" if value < 0.001 else self.number(value)

    def interval(self, low: str, high: str) -> str:
        """Two written numbers as an interval."""
        return f"[{low}, {high}]" if self.name == "en" else f"[{low}{_THIN}; {high}]"

    def seconds(self, value: float) -> str:
        """A duration in the unit a person would choose."""
        if value < 10:
            return self("unit_s", n=self.number(value, 1))
        if value < 120:
            return self("unit_s", n=self.number(value, 0))
        if value < 7200:
            return self("unit_min", n=self.number(value / 60, 0 if value > 600 else 1))
        return self("unit_h", n=self.number(value / 3600, 1))

    def size(self, n_bytes: float) -> str:
        """A size in bytes, in powers of 1,000."""
        units = self("size_units").split()
        place = 0
        while n_bytes >= 1000 and place < len(units) - 1:
            n_bytes, place = n_bytes / 1000, place + 1
        return f"{self.number(n_bytes, 1 if place else 0)}{_THIN}{units[place]}"

    def value(self, metric: str, value: float | None) -> str:
        """One value of a metric: a percentage or a number."""
        from ouvroir.evaluation.metrics import is_percent

        return self.percent(value) if is_percent(metric) else self.number(value)

    def span(self, metric: str, low: float, high: float) -> str:
        """The interval of a metric, without repeating the unit."""
        from ouvroir.evaluation.metrics import is_percent

        if is_percent(metric):
            return self.interval(self.number(low * 100, 1), self.number(high * 100, 1))
        return self.interval(self.number(low), self.number(high))

    def gap(self, metric: str, difference: dict[str, float], *, turn: bool = False) -> str:
        """A signed difference with its interval, in points or in the metric's own unit; `turn` changes its sign."""
        from ouvroir.evaluation.metrics import is_percent

        ends = [difference["value"], *sorted((difference["low"], difference["high"]))]
        if turn:
            ends = [-ends[0], -ends[2], -ends[1]]
        scale, digits = (100, 1) if is_percent(metric) else (1, 3)
        value, low, high = (self.number(end * scale, digits, sign=True) for end in ends)
        text = self("points", value=value) if is_percent(metric) else value
        return f"{text} {self.interval(low, high)}"

    def gap_size(self, metric: str, size: float) -> str:
        """A difference without sign."""
        from ouvroir.evaluation.metrics import is_percent

        if is_percent(metric):
            return self("points", value=self.number(size * 100, 1))
        return self.number(size)
