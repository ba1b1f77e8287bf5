"""Every sentence of the report: `WORDS` maps a key to (English, French); `language` says them.

Values in braces are already written out; nothing here is markup, so that the template escapes all of it.
"""

from __future__ import annotations

from ouvroir.evaluation.words_synthesis import WORDS_SYNTHESIS

WORDS: dict[str, tuple[str, str]] = {
    # the page
    "title": ("{name} · Ouvroir report", "{name} · rapport Ouvroir"),
    "report": ("Report", "Rapport"),
    "skip": ("Skip to the results", "Aller aux résultats"),
    "footer": (
        "Made by Ouvroir. This page is one file and asks nothing of the network.",
        "Produit par Ouvroir. Cette page tient en un seul fichier et fonctionne sans réseau.",
    ),
    "interval_note": (
        "Square brackets hold 95 % intervals: the range in which the true value on data of the same kind "
        "probably lies.",
        "Entre crochets, les intervalles à 95 % : la plage où se trouve probablement la vraie valeur sur des "
        "données du même genre.",
    ),
    "no_interval": ("[no interval]", "[sans intervalle]"),
    "and_more": ("and {n} more", "et {n} de plus"),
    "none": ("none", "aucune"),
    "colon": ("{name}: {value}", "{name} : {value}"),
    # sections
    "section_side_by_side": ("Side by side", "Côte à côte"),
    "section_measures": ("How good it is", "Résultats"),
    "section_classes": ("Class by class", "Classe par classe"),
    "section_confusions": ("What is taken for what", "Les confusions entre classes"),
    "section_calibration": ("Can its confidence be trusted?", "Peut-on se fier à sa confiance ?"),
    "section_mistakes": ("Most confident mistakes", "Les erreurs commises avec le plus d’assurance"),
    "section_writing": ("What it writes", "Ce qu’il écrit"),
    "writing_lead": (
        "Written from nothing while it was trained, {n:once|a few times} and at three temperatures: below 1 more of what is likely "
        "is drawn. Everything here is synthetic.",
        "Écrit à partir de rien au cours de l’entraînement, à {n:un seul moment|quelques moments} et à trois températures : en "
        "dessous de 1, le probable est tiré plus souvent. Tout ceci est synthétique.",
    ),
    "writing_moment": ("After {step} {step:step|steps}, {time}", "Après {step} pas, {time}"),
    "writing_kept": ("these weights are kept", "poids retenus"),
    "writing_temperature": ("Temperature {value}", "Température {value}"),
    "writing_habits": ("Does it repeat itself, or copy?", "Se répète-t-il, ou recopie-t-il ?"),
    "writing_habits_lead": (
        "Texts of its own beside real text that it never learned from. Real text shares passages with what was learned from too; a "
        "model that shares much longer ones recites.",
        "Des textes de sa plume à côté de texte réel jamais appris. Le texte réel aussi partage des passages avec ce qui a été "
        "appris ; un modèle qui en partage de bien plus longs récite.",
    ),
    "writing_texts": (
        "Texts, and pieces of each on average",
        "Textes, et morceaux de chacun en moyenne",
    ),
    "writing_searched": (
        "Passages were looked for in {share} of the train items, evenly spaced, so longer ones may stand in the others.",
        "Les passages ont été cherchés dans {share} des éléments d’entraînement, régulièrement espacés : les autres en contiennent "
        "peut-être de plus longs.",
    ),
    "writing_model": ("the model", "le modèle"),
    "writing_real": ("real text", "texte réel"),
    "writing_repetition": (
        "Runs of six pieces that stood in the same text before",
        "Suites de six morceaux déjà présentes dans le même texte",
    ),
    "writing_copied": (
        "Longest passage that stands in the train items, in characters",
        "Plus long passage présent dans les éléments d’entraînement, en caractères",
    ),
    "writing_passage": ("That passage:", "Ce passage :"),
    "writing_expected": ("What it expects next", "Ce à quoi il s’attend"),
    "writing_expected_lead": (
        "Places of the test, what really came next, and what the model held for most likely there. The percentage behind "
        "what really came is the chance that the model gave to it.",
        "Des endroits du test, ce qui suivait vraiment, et ce que le modèle y jugeait le plus probable. Le pourcentage qui suit ce "
        "qui venait vraiment est la probabilité que le modèle lui donnait.",
    ),
    "curve_by_seconds": ("{title}, against time", "{title}, selon le temps"),
    "curve_by_characters": ("{title}, against characters seen", "{title}, selon les caractères lus"),
    "curve_characters": ("characters seen in training", "caractères lus à l’entraînement"),
    "curve_seconds": ("seconds of training", "secondes d’entraînement"),
    "section_controls": ("What it relies on", "Sur quoi il s’appuie"),
    "section_groups": ("Group by group", "Groupe par groupe"),
    "section_changes": ("What tuning changed", "Ce que l’affinage a changé"),
    "section_ledger": ("Every file accounted for", "Chaque fichier est compté"),
    "section_samples": ("What it learned from", "Les exemples d’entraînement"),
    "section_mislabels": ("Labels worth a second look", "Étiquettes à vérifier"),
    "section_curves": ("Learning", "Apprentissage"),
    "section_cost": ("Time and size", "Durée et taille"),
    "section_use": ("Use the model", "Utiliser le modèle"),
    "section_settings": ("Settings", "Réglages"),
    "section_environment": ("Environment", "Environnement"),
    # who
    "role_baseline": ("cheap baseline", "référence simple"),
    "role_base": ("base model", "modèle de base"),
    "role_tuned": ("tuned model", "modèle affiné"),
    "the_base": ("the base model", "le modèle de base"),
    "the_tuned": ("the tuned model", "le modèle affiné"),
    "the_only": ("the model", "le modèle"),
    "the_most frequent class": ("the most frequent class", "la classe la plus fréquente"),
    "the_most frequent labels": ("the most frequent labels", "les étiquettes les plus fréquentes"),
    "the_logistic regression on simple features": (
        "logistic regression on simple features",
        "la régression logistique sur des caractéristiques simples",
    ),
    "the_nearest neighbours on simple features": (
        "nearest neighbours on simple features",
        "les plus proches voisins sur des caractéristiques simples",
    ),
    "the_n-gram network": (
        "the network of n-grams alone",
        "le réseau des n-grammes seuls",
    ),
    "the_n-grams (Kneser-Ney)": ("n-grams (Kneser-Ney)", "les n-grammes (Kneser-Ney)"),
    "the_logistic regression on n-grams": (
        "logistic regression on n-grams",
        "la régression logistique sur des n-grammes",
    ),
    "the_nearest neighbours on n-grams": (
        "nearest neighbours on n-grams",
        "les plus proches voisins par leurs n-grammes",
    ),
    "only_model": ("model", "modèle"),
    "kept": ("kept", "retenu"),
    # metrics
    "metric_accuracy": ("accuracy", "exactitude"),
    "metric_subset_accuracy": ("all labels right", "toutes les étiquettes justes"),
    "metric_top5": ("top 5", "dans les 5 premières"),
    "metric_balanced_accuracy": ("balanced accuracy", "exactitude équilibrée"),
    "metric_macro_f1": ("macro F1", "F1 macro"),
    "metric_micro_f1": ("micro F1", "F1 micro"),
    "metric_nll": ("negative log-likelihood", "log-vraisemblance négative"),
    "metric_loss": ("loss", "perte"),
    "metric_perplexity": ("perplexity", "perplexité"),
    "metric_nats_per_character": ("nats per character", "nats par caractère"),
    "metric_bits_per_byte": ("bits per byte", "bits par octet"),
    "metric_brier": ("Brier score", "score de Brier"),
    "metric_ece": ("calibration error", "erreur de calibration"),
    "about_accuracy": ("the share of items that are answered rightly", "la part d’éléments dont la réponse est juste"),
    "about_subset_accuracy": (
        "the share of items whose labels are all right, with none missing and none too many",
        "la part d’éléments dont toutes les étiquettes sont justes, sans manque ni ajout",
    ),
    "about_top5": (
        "the right class is among the five that the model finds most probable",
        "la bonne classe est parmi les cinq que le modèle juge les plus probables",
    ),
    "about_balanced_accuracy": (
        "the share found of each class, averaged over classes, so that rare ones count as much as common ones",
        "la part trouvée de chaque classe, en moyenne sur les classes : les rares comptent autant que les fréquentes",
    ),
    "about_macro_f1": (
        "F1 is 100 % when everything is found and nothing is named wrongly (the harmonic mean of recall and "
        "precision); macro is its mean over classes, rare ones included",
        "le F1 vaut 100 % quand tout est trouvé et rien n’est nommé à tort (moyenne harmonique du rappel et de "
        "la précision) ; macro : sa moyenne sur les classes, même rares",
    ),
    "about_micro_f1": (
        "the F1 of all answers together, so that frequent classes count more",
        "le F1 de toutes les réponses ensemble : les classes fréquentes comptent davantage",
    ),
    "about_nll": (
        "how surprised the model is by the right answer: 0 when it was sure of it, and very large when it was "
        "sure of another",
        "à quel point la bonne réponse surprend le modèle : 0 s’il en était sûr, très grande s’il était sûr "
        "d’une autre",
    ),
    "about_loss": (
        "what training makes smaller; it is of use to compare models of the same task only",
        "ce que l’entraînement réduit ; ne sert qu’à comparer des modèles de la même tâche",
    ),
    "about_nats_per_character": (
        "how hard it is for the model, on average, to guess each character from the text before it. At 0 it is "
        "sure of every character, at 0.69 as unsure as between two that are equally likely. Of a block of a file it sees nothing "
        "that comes before the block",
        "à quel point il est difficile pour le modèle, en moyenne, de deviner chaque caractère d’après le texte qui le précède. "
        "À 0, il est sûr de chaque caractère ; à 0,69, il hésite comme entre deux caractères "
        "également probables. D’un bloc de fichier, il ne voit rien de ce qui précède le bloc",
    ),
    "about_nats_per_character_in_windows": (
        "how hard it is for the model, on average, to guess each character from the text before it. At 0 it is "
        "sure of every character, at 0.69 as unsure as between two that are equally likely. The model reads the text in windows of "
        "{context} pieces, a new one every {stride} pieces, and guesses each piece once: it sees at least the {seen} pieces before "
        "it, or fewer at the beginning of a block of a file",
        "à quel point il est difficile pour le modèle, en moyenne, de deviner chaque caractère d’après le texte qui le précède. "
        "À 0, il est sûr de chaque caractère ; à 0,69, il hésite comme entre deux caractères "
        "également probables. Le modèle lit le texte par fenêtres de {context} morceaux, une nouvelle tous les {stride} morceaux, "
        "et devine chaque morceau une seule fois : il voit au moins les {seen} morceaux qui le précèdent, ou moins au début d’un "
        "bloc de fichier",
    ),
    "about_bits_per_byte": (
        "the same surprise in bits for each byte of the text: what a perfect compressor made of this model would need",
        "la même surprise en bits par octet du texte : ce dont aurait besoin un compresseur parfait fondé sur ce modèle",
    ),
    "about_perplexity": (
        "among how many equally probable choices the model hesitates, as it were",
        "entre combien de choix également probables le modèle hésite, en quelque sorte",
    ),
    "about_brier": (
        "the squared distance between the stated probabilities and the truth",
        "le carré de l’écart entre les probabilités annoncées et la vérité",
    ),
    "about_ece": (
        "how far stated confidence is from the share right, on average over ranges of confidence; chance alone "
        "keeps it above 0 when items are few",
        "l’écart moyen entre la confiance annoncée et la part de réponses justes, tranche par tranche ; avec peu "
        "d’éléments, le hasard seul suffit à l’éloigner de 0",
    ),
    "higher_better": ("higher is better", "plus c’est haut, mieux c’est"),
    "lower_better": ("lower is better", "plus c’est bas, mieux c’est"),
    # verdict
    "leak": (
        "Rows that belong together lie on both sides of the split, so the test may look better than what comes.",
        "Des éléments qui vont ensemble sont dans des jeux différents : le test peut paraître meilleur que la suite.",
    ),
    "verdict_accuracy": (
        "{who} answers {value} of {n} unseen {n:item|items} correctly {interval}.",
        "{who} donne la bonne réponse pour {value} {n:du seul élément jamais vu|des {n} éléments jamais vus} {interval}.",
    ),
    "verdict_subset_accuracy": (
        "{who} finds exactly the right labels for {value} of {n} unseen {n:item|items} {interval}.",
        "{who} trouve exactement les bonnes étiquettes pour {value} {n:du seul élément jamais vu|des {n} éléments jamais vus} "
        "{interval}.",
    ),
    "verdict_share": (
        "{who} reaches {value} {metric} on {n} unseen {n:item|items} {interval}.",
        "{who} atteint {value} en {metric} sur {n} {n:élément jamais vu|éléments jamais vus} {interval}.",
    ),
    "verdict_nats_per_character": (
        "{who} is surprised by {value} nats per character on {n} unseen {n:item|items} {interval}; lower is better.",
        "{who} est surpris de {value} nats par caractère sur {n} {n:élément jamais vu|éléments jamais vus} {interval} ; plus c’est "
        "bas, mieux c’est.",
    ),
    "verdict_number": (
        "{who} has a {metric} of {value} on {n} unseen {n:item|items} {interval}; {direction}.",
        "{who} obtient {value} sur {n} {n:élément jamais vu|éléments jamais vus} {interval} ({metric} : {direction}).",
    ),
    "verdict_beaten": (
        "{who} does worse than {name}, the best cheap baseline: {metric} {value} {interval} against {cheap}, on {n} unseen items; "
        "{direction}.",
        "{who} fait moins bien que {name}, la meilleure référence simple : {metric} {value} {interval} contre {cheap}, sur {n} "
        "éléments jamais vus ; {direction}.",
    ),
    "verdict_none": (
        "Nothing was measured: there were no unseen items to judge a model on.",
        "Rien n’a été mesuré : il n’y avait aucun élément jamais vu pour évaluer un modèle.",
    ),
    "verdict_none_next": (
        "Do not trust the model before it has been judged: give the data a test split and evaluate it.",
        "Ne vous fiez pas au modèle avant de l’avoir évalué : réservez une partie des données au test, puis "
        "évaluez-le.",
    ),
    "against_better": (
        "The best cheap baseline, {name}, gets {value}: the model is better by {gap}.",
        "La meilleure référence simple, {name}, obtient {value} : le modèle fait mieux, de {gap}.",
    ),
    "against_same": (
        "The best cheap baseline, {name}, gets {value}: no difference is shown (model minus baseline: {gap}). A cheap "
        "method may do as well; longer training, more data, or a start from pretrained weights, may change that.",
        "La meilleure référence simple, {name}, obtient {value} : aucune différence n’est mise en évidence "
        "(modèle moins référence : {gap}). Une méthode simple suffit peut-être ; un entraînement plus long, davantage de "
        "données, ou des poids préentraînés au départ, peuvent changer cela.",
    ),
    "against_worse": (
        "The best cheap baseline, {name}, gets {value}: the model is worse by {gap}. Use the baseline, "
        "or train longer, or on more data, or start from pretrained weights.",
        "La meilleure référence simple, {name}, obtient {value} : le modèle fait moins bien, de {gap}. "
        "Préférez la référence, ou entraînez plus longtemps, ajoutez des données, ou partez de poids préentraînés.",
    ),
    "against_same_writing": (
        "The best cheap baseline, {name}, gets {value}: no difference is shown (model minus baseline: {gap}). Longer training "
        "(`--minutes`) or more text may change that.",
        "La meilleure référence simple, {name}, obtient {value} : aucune différence n’est mise en évidence (modèle moins "
        "référence : {gap}). Un entraînement plus long (`--minutes`) ou davantage de texte peuvent changer cela.",
    ),
    "against_worse_writing": (
        "The best cheap baseline, {name}, gets {value}: the model is worse by {gap}. Train it longer (`--minutes`), or on more "
        "text.",
        "La meilleure référence simple, {name}, obtient {value} : le modèle fait moins bien, de {gap}. Entraînez-le plus "
        "longtemps (`--minutes`), ou sur davantage de texte.",
    ),
    "against_same_overfit": (
        "The best cheap baseline, {name}, gets {value}: no difference is shown (model minus baseline: {gap}). More data may change "
        "that.",
        "La meilleure référence simple, {name}, obtient {value} : aucune différence n’est mise en évidence (modèle moins "
        "référence : {gap}). Davantage de données peuvent changer cela.",
    ),
    "against_worse_overfit": (
        "The best cheap baseline, {name}, gets {value}: the model is worse by {gap}. Give it more data.",
        "La meilleure référence simple, {name}, obtient {value} : le modèle fait moins bien, de {gap}. Donnez-lui davantage de "
        "données.",
    ),
    "tuning_better": (
        "Tuning helped: the tuned model is better than the base model by {gap}{changed}.",
        "L’affinage a aidé : le modèle affiné fait mieux que le modèle de base, de {gap}{changed}.",
    ),
    "tuning_same": (
        "Between the base and the tuned model, no difference is shown (tuned minus base: {gap}){seen}.",
        "Entre le modèle de base et le modèle affiné, aucune différence n’est mise en évidence (affiné moins base : {gap}){seen}.",
    ),
    "tuning_worse": (
        "Tuning did harm: the tuned model is worse than the base model by {gap}{changed}.",
        "L’affinage a nui : le modèle affiné fait moins bien que le modèle de base, de {gap}{changed}.",
    ),
    "changed": (
        " (items fixed: {fixed}, broken: {broken})",
        " (erreurs corrigées : {fixed}, nouvelles : {broken})",
    ),
    "would_be_seen": (
        "; {smallest} or more would probably have been seen",
        " ; un écart de {smallest} ou plus aurait sans doute été vu",
    ),
    "rival_time_alike": (
        "Trained for as long ({seconds}, against {kept} for the one that was kept)",
        "Entraîné aussi longtemps ({seconds}, contre {kept} pour celui qui a été retenu)",
    ),
    "rival_time_other": (
        "Trained for {seconds}, against {kept} for the one that was kept",
        "Entraîné pendant {seconds}, contre {kept} pour celui qui a été retenu",
    ),
    "rival_time_unknown": ("Trained beside it", "Entraîné à côté"),
    "rival_better": (
        "{trained}, {name} gets {value}: the model that was kept is better by {gap}.",
        "{trained}, {name} obtient {value} : le modèle retenu fait mieux, de {gap}.",
    ),
    "rival_same": (
        "{trained}, {name} gets {value}: no difference is shown (the one that was kept minus this one: {gap}){seen}.",
        "{trained}, {name} obtient {value} : aucune différence n’est mise en évidence (celui qui a été retenu moins celui-ci : "
        "{gap}){seen}.",
    ),
    "rival_worse": (
        "{trained}, {name} gets {value}: the model that was kept is worse by {gap} on the test, though not on the validation data.",
        "{trained}, {name} obtient {value} : le modèle retenu fait moins bien sur le test, de {gap}, mais pas sur les données de "
        "validation.",
    ),
    "rival_beaten_worse": (
        "{who} is worse than {name} by {gap}.",
        "{who} fait moins bien que {name}, de {gap}.",
    ),
    "rival_beaten_same": (
        "{who} is not shown to be better than {name} (model minus baseline: {gap}).",
        "{who} ne se montre pas meilleur que {name} (modèle moins référence : {gap}).",
    ),
    "name_lstm": ("LSTM", "LSTM"),
    "name_transformer": ("Transformer", "Transformer"),
    "the_lstm": ("the LSTM", "le LSTM"),
    "the_transformer": ("the Transformer", "le Transformer"),
    "kept_on_validation": (
        "Which of the two to keep was decided on validation data, without a look at these test items.",
        "Le choix entre les deux s’est fait sur les données de validation, sans regarder ces éléments de test.",
    ),
    "kept_without_validation": (
        "There were no validation data to choose by, so the base model was kept.",
        "Faute de données de validation pour choisir, le modèle de base a été gardé.",
    ),
    "few_steps": (
        "{who} was trained for {n} {n:step|steps}, and {usual} are usual for such data: it may know little yet.",
        "{who} a été entraîné pendant {n} pas, et {usual} sont habituels pour de telles données : il sait peut-être encore peu.",
    ),
    "few_steps_minutes": ("Give more minutes (`--minutes`).", "Donnez plus de minutes (`--minutes`)."),
    "few_steps_minutes_or_smaller": (
        "Give more minutes (`--minutes`), or train a smaller model (`--preset tiny`).",
        "Donnez plus de minutes (`--minutes`), ou entraînez un modèle plus petit (`--preset tiny`).",
    ),
    "kept_tuned": (
        "This run keeps the tuned model. The base model, which it started from, is unchanged and can still be used.",
        "Cet entraînement garde le modèle affiné. Le modèle de base, dont il est parti, est inchangé et reste utilisable.",
    ),
    "kept_at_last": (
        "{who} is kept as it was after its last step, {step}, where it did best on validation data ({metric}: {value}).",
        "{who} est retenu tel qu’il était après son dernier pas, le {step}, où il était le meilleur en validation ({metric} : "
        "{value}).",
    ),
    "kept_at_step": (
        "{who} is kept as it was after step {step} of {steps}, where it did best on validation data ({metric}: {value}; {last} "
        "after the last step).",
        "{who} est retenu tel qu’il était après le pas {step} sur {steps}, où il était le meilleur en validation ({metric} : "
        "{value} ; {last} après le dernier pas).",
    ),
    "kept_at_once": (
        "{who} was validated only once, after step {step} ({metric}: {value}), which cannot tell whether more steps made it worse. "
        "`--set loop.evaluate_every=STEPS` has it validated more often, and keeps the best.",
        "{who} n’a été évalué en validation qu’une fois, après le pas {step} ({metric} : {value}), ce qui ne dit pas si d’autres "
        "pas l’ont rendu moins bon. Avec `--set loop.evaluate_every=PAS`, il l’est plus souvent, et le meilleur est retenu.",
    ),
    "kept_at_overfit": (
        "After that it did worse on them, which is overfitting: a shorter training would do, and more data would help.",
        "Ensuite, il y a fait moins bien : c’est du surapprentissage. Un entraînement plus court suffirait, et davantage de "
        "données aideraient.",
    ),
    "few_groups": (
        "Groups in the test: {n}. The intervals are about more items of these groups; a new group may differ by far more. "
        "More groups in the test would say more.",
        "Groupes dans le test : {n}. Les intervalles portent sur d’autres éléments de ces groupes ; un nouveau groupe peut "
        "différer de bien davantage. Davantage de groupes en diraient plus.",
    ),
    "few_items": (
        "With {n} test {n:item|items} the intervals are wide. More test items make them narrower.",
        "Avec {n} {n:élément|éléments} de test, les intervalles sont larges ; davantage d’éléments les resserreraient.",
    ),
    "in_units": (
        "Test items that belong together, such as neighbouring blocks of a file, are not independent. The intervals count each "
        "group of them as one item, {n} in all; more text in the test would make them narrower.",
        "Les éléments de test qui vont ensemble, comme les blocs voisins d’un fichier, ne sont pas indépendants. Les intervalles "
        "comptent chaque groupe pour un seul élément, {n} en tout ; davantage de texte dans le test les resserrerait.",
    ),
    "one_item": (
        "The test counts as a single item, which gives no interval: nothing here is shown to be better than anything else. Set "
        "more data aside for the test.",
        "Le test ne compte que pour un élément, ce qui ne donne pas d’intervalle : rien ici n’est montré meilleur qu’autre chose. "
        "Réservez davantage de données au test.",
    ),
    "weakest": ("Weakest classes", "Classes les plus faibles"),
    "weakest_right": ("{right} of {n} found", "{right} sur {n} trouvés"),
    "weakest_taken": ("most often taken for {answer} ({count})", "prise le plus souvent pour {answer} ({count})"),
    "weakest_in_vain": ("named wrongly: {count}", "nommée à tort : {count} fois"),
    "weakest_few": (
        "With so few items of a class, trust the interval and not the share.",
        "Avec si peu d’éléments dans une classe, fiez-vous à l’intervalle plutôt qu’au pourcentage.",
    ),
    # tiles
    "tile_judged": ("unseen {n:item|items} judged", "{n:élément de test jamais vu|éléments de test jamais vus}"),
    "tile_train": ("{n:item|items} to learn from", "{n:élément|éléments} d’entraînement"),
    "tile_classes": ("{n:class|classes}", "{n:classe|classes}"),
    "tile_training": ("of training", "d’entraînement"),
    "tile_size": ("model size", "taille du modèle"),
    # side by side
    "side_by_side_lead": (
        "Everyone answers the same {n} unseen {n:item|items}. The dot is the value, the line its 95 % interval.",
        "Tous répondent pour {n:le même élément jamais vu|les mêmes {n} éléments jamais vus}. Le point est la valeur, le trait son "
        "intervalle à 95 %.",
    ),
    "axis_cut": ("The axis does not begin at 0.", "L’axe ne commence pas à 0."),
    "equal_steps": (
        "Base and tuned model had the same number of training steps in all ({steps}), so more training does not "
        "pass for a gain.",
        "Le modèle de base et le modèle affiné ont reçu le même nombre de pas d’entraînement en tout ({steps}) : "
        "un gain ne vient donc pas d’un entraînement plus long.",
    ),
    "unequal_steps": (
        "Training steps in all: {steps}. They are not equal, so part of a difference may come from training more.",
        "Pas d’entraînement en tout : {steps}. Ces nombres diffèrent : une part de l’écart peut venir d’un "
        "entraînement plus long.",
    ),
    "rivals_trained": ("Training: {each}.", "Entraînement : {each}."),
    "rival_effort": ("{name}, {steps} {steps:step|steps} in {time}", "{name}, {steps} pas en {time}"),
    "rival_effort_and_size": (
        "{name}, {steps} {steps:step|steps} in {time} with {parameters} parameters",
        "{name}, {steps} pas en {time} avec {parameters} paramètres",
    ),
    "unequal_times": (
        "The times are not equal, so part of a difference may come from training longer.",
        "Ces durées diffèrent : une part de l’écart peut venir d’un entraînement plus long.",
    ),
    "unequal_parameters": (
        "Not at equal parameters: {name} has {factor} times as many.",
        "À nombre de paramètres inégal : {name} en a {factor} fois autant.",
    ),
    "all_measures": ("All measures", "Toutes les mesures"),
    "system": ("system", "système"),
    "paired": ("Paired differences", "Comparaisons appariées"),
    "paired_lead": (
        "Two systems on the same items, item by item. This can show smaller differences than comparing the "
        "intervals above. The intervals cover the chance in the choice of items, not the chance in training: "
        "another seed would move the values a little.",
        "Les deux systèmes sont comparés élément par élément, ce qui révèle des écarts plus petits que la "
        "comparaison des intervalles ci-dessus. Les intervalles tiennent compte du hasard du choix des éléments, "
        "pas de celui de l’entraînement : une autre graine déplacerait un peu les valeurs.",
    ),
    "difference_higher": (
        "A difference is the value of the system named first minus that of the other: above 0, the first does better.",
        "Une différence est la valeur du système nommé en premier moins celle de l’autre : au-dessus de 0, le premier fait mieux.",
    ),
    "difference_lower": (
        "A difference is the value of the system named first minus that of the other: below 0, the first does better.",
        "Une différence est la valeur du système nommé en premier moins celle de l’autre : en dessous de 0, le premier fait mieux.",
    ),
    "pair": ("{second} against {first}", "{second} contre {first}"),
    "difference": ("difference", "différence"),
    "fixed": ("fixed", "erreurs corrigées"),
    "broken": ("broken", "nouvelles erreurs"),
    "p_value": ("McNemar p", "p de McNemar"),
    "smallest": ("smallest visible", "plus petit écart visible"),
    "finding": ("finding", "constat"),
    "found_better": ("better", "mieux"),
    "found_worse": ("worse", "moins bien"),
    "found_same": ("no difference is shown", "aucune différence n’est mise en évidence"),
    "smallest_note": (
        "Smallest visible: a true difference of this size would be found in 4 of 5 tests like this one.",
        "Plus petit écart visible : un vrai écart de cette taille serait détecté par 4 tests sur 5 comme celui-ci.",
    ),
    "p_note": (
        "McNemar p: how often chance alone would split fixed and broken at least so unevenly if both systems were "
        "equally good; p under 0.05 is needed besides an interval without 0 to show a difference.",
        "p de McNemar : à quelle fréquence le hasard seul donnerait un partage au moins aussi inégal entre erreurs "
        "corrigées et nouvelles erreurs si les deux systèmes se valaient ; pour mettre une différence en évidence, "
        "il faut p inférieur à 0,05, en plus d’un intervalle sans 0.",
    ),
    "smallest_alone": (
        "A test set of {n} {n:item|items} can show a difference of {size} or more between two systems like these.",
        "Un jeu de test de {n} {n:élément|éléments} permet de voir un écart de {size} ou plus entre deux systèmes comme ceux-ci.",
    ),
    "point": ("{value} point", "{value}\u00a0point"),
    "points": ("{value} points", "{value}\u00a0points"),
    # controls
    "controls_lead": (
        "The same model answered the same test once more with something taken from every item. Where that costs little, the model "
        "rests on what is left.",
        "Le même modèle a répondu encore une fois au même test, chaque élément étant privé de quelque chose. Là où cela coûte peu, "
        "le modèle s’appuie sur ce qui reste.",
    ),
    "control": ("what is left", "ce qui reste"),
    "control_whole": ("Everything", "Tout"),
    "control_cost": ("difference", "différence"),
    "control_better": ("it needs what is missing", "il a besoin de ce qui manque"),
    "control_same": ("not shown that it needs what is missing", "rien ne montre qu’il ait besoin de ce qui manque"),
    "control_guesses": (
        "says nothing: the model is not shown to do better than the most frequent class",
        "ne dit rien : rien ne montre que le modèle fasse mieux que la classe la plus fréquente",
    ),
    "control_worse": ("better without what is missing", "meilleur sans ce qui manque"),
    "control_elsewhere": ("A control that the English report names", "Un contrôle que nomme le rapport en anglais"),
    # groups
    "groups_lead": (
        "The test items by the group that they were kept together by, the worst first. Where groups "
        "differ much, an average says little about the next one.",
        "Les éléments du test selon le groupe qui les a gardés ensemble, le pire d’abord. S’ils "
        "diffèrent beaucoup, une moyenne dit peu du prochain.",
    ),
    "groups_small": (
        "Groups of fewer than five items are left out here.",
        "Les groupes de moins de cinq éléments ne figurent pas ici.",
    ),
    "random_lead": (
        "What a split at random would have said: {name}, taught once more with as many items, members of a group on both sides.",
        "Ce qu’aurait dit un jeu de test tiré au hasard : {name}, instruite une fois de plus sur autant d’éléments, "
        "les groupes étant des deux côtés.",
    ),
    "random_split": ("split", "jeux"),
    "random_apart": ("Groups kept apart, as in this report", "Groupes séparés, comme dans ce rapport"),
    "random_mixed": ("Items dealt out at random", "Éléments répartis au hasard"),
    "random_easier": (
        "The intervals do not overlap: groups that are known make this test easier, and a split at random would have flattered.",
        "Les intervalles ne se recouvrent pas : des groupes connus rendent ce test plus facile, et des jeux tirés au "
        "hasard auraient flatté.",
    ),
    "random_same": (
        "It is not shown here that known groups make the test easier.",
        "Rien ne montre ici que des groupes connus rendent le test plus facile.",
    ),
    "group": ("group", "groupe"),
    "group_right": ("right", "justes"),
    "group_taken": ("most frequent confusion", "confusion la plus fréquente"),
    # classes
    "classes_lead": (
        "Recall: of the items of a class, the share that was found. Precision: of the answers naming the class, "
        "the share that was right. F1: one number for both, their harmonic mean.",
        "Rappel : parmi les éléments d’une classe, la part de ceux qui ont été trouvés. Précision : parmi les "
        "réponses qui nomment la classe, la part de celles qui sont justes. F1 : un seul nombre pour les deux, "
        "leur moyenne harmonique.",
    ),
    "class": ("class", "classe"),
    "support": ("items", "éléments"),
    "answered": ("answers", "réponses"),
    "precision": ("precision", "précision"),
    "recall": ("recall", "rappel"),
    "f1": ("F1", "F1"),
    # confusions
    "confusion_alt": (
        "Confusion matrix of {n} classes: rows are the given labels, columns the answers.",
        "Matrice de confusion de {n} classes : les lignes sont les étiquettes données, les colonnes les réponses.",
    ),
    "confusion_rows": ("given label", "étiquette donnée"),
    "confusion_columns": ("answer", "réponse"),
    "confusion_cell": (
        "{count} of {total} {given} were answered {answer}",
        "{given} → {answer} : {count} sur {total}",
    ),
    "confusion_lead": (
        "Shade is the share of the row. Blue on the diagonal is right, orange beside it is wrong.",
        "Plus la teinte est soutenue, plus la part de la ligne est grande : en bleu, sur la diagonale, les "
        "réponses justes ; en orange, les fausses.",
    ),
    "confusion_top": ("Most frequent confusions", "Confusions les plus fréquentes"),
    "confusion_none": ("Not one item was answered wrongly.", "Aucune réponse fausse."),
    "confusion_item": ("{given} taken for {answer}", "{given} → {answer}"),
    "of_row": ("{count} of {total}", "{count} sur {total}"),
    # calibration
    "calibration_lead": (
        "When it says 80 %, is it right 8 times in 10? The curve (a reliability curve) has one point for each "
        "range of confidence, with the 95 % interval of the share right; bars show how many answers lie there. "
        "On the dashed line confidence and truth agree; below it the model is too sure of itself.",
        "Quand il annonce 80 %, a-t-il raison 8 fois sur 10 ? La courbe (dite de fiabilité) a un point par "
        "tranche de confiance, avec l’intervalle à 95 % de la part de réponses justes ; les barres montrent "
        "combien de réponses s’y trouvent. Sur la ligne en tirets, confiance et vérité s’accordent ; au-dessous, "
        "le modèle est trop sûr de lui.",
    ),
    "calibration_over": (
        "On average it claims {said} and is right {right} of the time: too sure by {gap}.",
        "En moyenne, il annonce {said} et a raison dans {right} des cas : il est trop sûr de lui, de {gap}.",
    ),
    "calibration_under": (
        "On average it claims {said} and is right {right} of the time: it could be surer by {gap}.",
        "En moyenne, il annonce {said} et a raison dans {right} des cas : il pourrait être plus sûr de lui, de {gap}.",
    ),
    "calibration_even": (
        "On average it claims {said} and is right {right} of the time: a difference of {gap}, so the two agree "
        "to within {bound}.",
        "En moyenne, il annonce {said} et a raison dans {right} des cas : l’écart est de {gap}, les deux "
        "s’accordent donc à {bound} près.",
    ),
    "calibration_unclear": (
        "On average it claims {said} and is right {right} of the time. {n} {n:item is|items are} too few to tell whether the "
        "difference, {gap}, is more than chance.",
        "En moyenne, il annonce {said} et a raison dans {right} des cas. {n} {n:élément ne suffit|éléments ne suffisent} pas pour "
        "dire si l’écart, {gap}, dépasse le hasard.",
    ),
    "calibration_error": (
        "Taken range by range, confidence is off by {error} on average {interval}: the calibration error, in "
        "which too sure here and too unsure there do not cancel out.",
        "Tranche par tranche, la confiance s’écarte de la vérité de {error} en moyenne {interval} : c’est "
        "l’erreur de calibration, où un excès ici ne compense pas un défaut là.",
    ),
    "calibration_labels": (
        "Label by label it claims {said} on average, and {right} of the labels apply.",
        "Étiquette par étiquette, il annonce {said} en moyenne, et {right} des étiquettes s’appliquent.",
    ),
    "calibration_alt": (
        "Calibration curve: share of right answers against confidence, in {n} {n:bin|bins}.",
        "Courbe de fiabilité : part de réponses justes selon la confiance, en {n} {n:tranche|tranches}.",
    ),
    "confidence": ("confidence", "confiance"),
    "share_right": ("share right", "part de réponses justes"),
    "calibration_bin": (
        "confidence {start} to {end}: {right} right of {n} {interval}",
        "confiance de {start} à {end} : {right} justes sur {n} {interval}",
    ),
    "threshold": (
        "With `--threshold auto` the model answers “none of these” under a confidence of {value}: on validation "
        "data that kept {keep} of its right answers.",
        "Avec `--threshold auto`, le modèle répond « rien de tout cela » quand sa confiance est inférieure à {value} "
        ": sur les données de validation, il gardait ainsi {keep} de ses réponses justes.",
    ),
    # mistakes
    "mistakes_lead": (
        "The {shown} of {n} mistakes it was most sure of. Some of them may be wrong labels.",
        "Sur {n} erreurs, les {shown} commises avec le plus d’assurance. Certaines viennent peut-être d’une "
        "mauvaise étiquette.",
    ),
    "mistakes_all": (
        "All mistakes ({n}), those it was most sure of first. Some of them may be wrong labels.",
        "Toutes les erreurs ({n}), à commencer par celles commises avec le plus d’assurance. Certaines viennent "
        "peut-être d’une mauvaise étiquette.",
    ),
    "mistakes_none": (
        "It made no mistake on {n:this one item|these {n} items}. That does not mean it never will.",
        "Aucune erreur sur {n:ce seul élément|ces {n} éléments}. Cela ne veut pas dire qu’il n’en fera jamais.",
    ),
    "given": ("label", "étiquette"),
    "answer": ("answer", "réponse"),
    "base_said": ("base said", "base"),
    "tuned_said": ("tuned says", "affiné"),
    "suggested": ("suggested", "proposition"),
    "fixed_title": (
        "Fixed: only the tuned model is right ({n})",
        "Erreurs corrigées : seul le modèle affiné a raison ({n})",
    ),
    "broken_title": (
        "Broken: only the base model is right ({n})",
        "Nouvelles erreurs : seul le modèle de base a raison ({n})",
    ),
    "reason_elsewhere": (
        "{reason} What to do stands in the English report: `ouvroir report RUN --language en`.",
        "{reason} Le rapport en anglais dit que faire : `ouvroir report RUN --language en`.",
    ),
    "not_shown": ("not shown here", "non affiché ici"),
    "sample_of": ("Sample {name}", "Élément {name}"),
    # data
    "ledger_sum": (
        "{found} found = {admitted} admitted + {refused} refused.",
        "{found} {found:trouvé|trouvés} = {admitted} admis + {refused} {refused:refusé|refusés}.",
    ),
    "refused_why": ("Refused, and why", "Fichiers refusés, et pourquoi"),
    "reason": ("reason", "raison"),
    "count": ("count", "nombre"),
    "all_refusals": ("The refused files", "Liste des fichiers refusés"),
    "file": ("file", "fichier"),
    "splits": ("Splits", "Jeux"),
    "split_train": ("train", "entraînement"),
    "split_validation": ("validation", "validation"),
    "split_test": ("test", "test"),
    "total": ("total", "total"),
    "no_label": ("no label", "sans étiquette"),
    "notes": ("Notes", "Remarques"),
    "proposed": ("{note} To change that: `{settings}`", "{note} Pour changer cela : `{settings}`"),
    "notes_elsewhere": (
        "`ouvroir report RUN --language en` shows more notes.",
        "D’autres remarques n’existent qu’en anglais : `ouvroir report RUN --language en` les affiche.",
    ),
    "groups": (
        "Groups of related items: {n}. A group never spans two splits.",
        "Groupes d’éléments liés : {n}. Un groupe n’est jamais réparti sur deux jeux.",
    ),
    "unjudged_repeated": (
        "Repeated items in validation and test: {n}. Each content is judged once.",
        "Éléments répétés en validation et en test : {n}. Chaque contenu n’est évalué qu’une fois.",
    ),
    "unjudged_contradictory labels": (
        "Validation and test items whose content has contradictory labels: {n}. No answer can be right there, so nothing is "
        "judged by them.",
        "Éléments de validation et de test dont le contenu a des étiquettes contradictoires : {n}. Aucune réponse ne peut "
        "y être juste : ils ne servent pas à l’évaluation.",
    ),
    "synthetic": (
        "Synthetic items among those for training: {n}. None of the validation and test items is synthetic.",
        "Éléments synthétiques parmi ceux d’entraînement : {n}. Aucun élément de validation ou de test ne l’est.",
    ),
    "multi_label_counts": (
        "Items may have several labels, so columns add up to more than there are items.",
        "Un élément peut avoir plusieurs étiquettes : la somme d’une colonne peut donc dépasser le nombre d’éléments.",
    ),
    "fingerprint": ("Fingerprint of the data", "Empreinte des données"),
    "samples_lead": (
        "Some training items, as given.",
        "Quelques éléments d’entraînement, tels qu’ils ont été fournis.",
    ),
    "mislabels_lead": (
        "Items whose given label is doubted most. Test items are doubted by the model, which had not seen them; "
        "training items by a classifier that had not seen them either, but on features of the model, which had: "
        "mistakes learned by heart may stay hidden. Look before you change anything.",
        "Éléments dont l’étiquette paraît la plus douteuse. Pour ceux de test, c’est l’avis du modèle, qui ne "
        "les avait jamais vus ; pour ceux d’entraînement, celui d’un classifieur qui ne les avait pas vus non "
        "plus, mais qui s’appuie sur les représentations du modèle, lequel les a vus : une erreur apprise par "
        "cœur peut donc rester cachée. Regardez avant de changer quoi que ce soit.",
    ),
    # training
    "curve_loss": ("Training loss", "Perte d’entraînement"),
    "curve_validation": ("Validation {metric}", "{metric} en validation"),
    "curve_alt": ("{title} over {along}; {ends}.", "{title} au fil de {along} ; {ends}."),
    "curve_end": ("{name} ends at {value}", "{name} finit à {value}"),
    "step": ("step", "pas"),
    "curve_point": ("{name}, after {along}: {value}", "{name}, après {along} : {value}"),
    "curve_along_points": ("{x} {x:step|steps}", "{x} pas"),
    "curve_along_seconds": ("{x} of training", "{x} d’entraînement"),
    "curve_along_characters": ("{x} {x:character|characters}", "{x} {x:caractère|caractères}"),
    # cost
    "cost_check": ("reading and checking", "lecture et contrôle"),
    "cost_pack": ("packing", "encodage"),
    "cost_train": ("training", "entraînement"),
    "cost_generator": ("training the generator", "entraînement du générateur"),
    "cost_generate": ("making samples", "fabrication des éléments"),
    "cost_assess": ("judging samples", "évaluation des éléments"),
    "cost_trial": ("the trial", "l’essai"),
    "cost_evaluate": ("evaluating", "évaluation"),
    "cost_baselines": ("cheap baselines", "références simples"),
    "cost_bundle": ("copying the model and checking the copy", "copie du modèle et contrôle de la copie"),
    "cost_report": ("reporting", "rapport"),
    "device": ("device", "appareil"),
    "items_per_second": ("items per second while training", "éléments par seconde à l’entraînement"),
    "windows_per_second": ("windows per second while training", "fenêtres par seconde à l’entraînement"),
    "parameters": ("parameters", "paramètres"),
    "model_bytes": ("size of the weights", "taille des poids"),
    "energy": ("energy", "énergie"),
    "energy_unknown": ("not measured, so not claimed", "non mesurée, donc non indiquée"),
    "versions": ("Versions and machine", "Versions et machine"),
    # use
    "use_command_line": ("On the command line", "En ligne de commande"),
    "use_python": ("In Python", "En Python"),
    "use_predict": ("answer new files", "répondre sur de nouveaux fichiers"),
    "use_samples": ("write samples, as files", "écrire des échantillons, en fichiers"),
    "use_write": ("go on with a text", "écrire la suite d’un texte"),
    "use_generate": ("make samples of each class", "générer des échantillons de chaque classe"),
    "use_evaluate": ("judge it on other labelled data", "l’évaluer sur d’autres données étiquetées"),
    "use_finetune": ("go on with your own data", "continuer l’entraînement sur vos données"),
    "use_export": ("carry it elsewhere", "l’exporter pour d’autres programmes"),
    "use_report": ("this report in French", "ce rapport en anglais"),
    # settings
    "settings_lead": ("Everything that decided this training.", "Tout ce qui a déterminé cet entraînement."),
    "constants": ("The constants", "Les constantes"),
    "constants_lead": (
        "Part of the model by wish of the people it is made for. What each brings is measured, never claimed.",
        "Elles font partie du modèle à la demande de ceux pour qui il est fait. Ce que chacune apporte se mesure "
        "; rien n’est promis.",
    ),
    "all_settings": ("All settings", "Tous les réglages"),
    "yes": ("yes", "oui"),
    "no": ("no", "non"),
    # the environment, as a run notes it
    "environment_created": ("begun", "début"),
    "environment_platform": ("operating system", "système d’exploitation"),
    "environment_cores": ("cores", "cœurs"),
    "environment_command": ("what was typed", "commande"),
    "environment_commit": ("commit of the code", "commit du code"),
    "environment_uncommitted": ("changes since that commit", "modifications depuis ce commit"),
    "environment_device": ("device", "appareil"),
    # what one types in the place of a word, in the commands that the report shows
    "typed_TEXT": ("TEXT", "TEXTE"),
    "typed_DATA": ("DATA", "DONNÉES"),
    "typed_FILE…": ("FILE…", "FICHIER…"),
    "setting": ("setting", "réglage"),
    "value": ("value", "valeur"),
    "meaning": ("meaning", "sens"),
    "used": ("used", "utilisée"),
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
    "name_most frequent labels": ("most frequent labels", "étiquettes les plus fréquentes"),
    "name_logistic regression on simple features": (
        "logistic regression on simple features",
        "régression logistique sur des caractéristiques simples",
    ),
    "name_nearest neighbours on simple features": (
        "nearest neighbours on simple features",
        "plus proches voisins sur des caractéristiques simples",
    ),
    "name_n-gram network": ("network of n-grams alone", "réseau des n-grammes seuls"),
    "name_n-grams (Kneser-Ney)": ("n-grams (Kneser-Ney)", "n-grammes (Kneser-Ney)"),
    "name_logistic regression on n-grams": (
        "logistic regression on n-grams",
        "régression logistique sur des n-grammes",
    ),
    "name_nearest neighbours on n-grams": ("nearest neighbours on n-grams", "plus proches voisins par leurs n-grammes"),
    "of_rows": ("{name} (learned from {n} {n:item|items})", "{name} ({n} {n:élément|éléments} d’entraînement)"),
    "code_changed": ("changed while it was read", "modifié pendant la lecture"),
    "code_crashed": ("crashed the decoder", "a fait planter le décodeur"),
    "code_damaged": ("damaged", "endommagé"),
    "code_empty": ("empty", "vide"),
    "code_encrypted": ("encrypted", "chiffré"),
    "code_hidden": ("hidden file", "fichier caché"),
    "code_own_folder": ("made by Ouvroir", "produit par Ouvroir"),
    "code_leak": ("would leak between splits", "présent aussi dans un jeu d’évaluation"),
    "code_malformed_row": ("malformed row", "ligne mal formée"),
    "code_missing": ("missing", "absent"),
    "code_ambiguous": ("may be several files", "peut désigner plusieurs fichiers"),
    "code_no_path": ("names no file", "ne nomme aucun fichier"),
    "code_not_in_table": ("not in the table", "absent du tableau"),
    "code_not_readable_here": ("another kind of file", "autre type de fichier"),
    "code_other": ("another reason", "autre raison"),
    "code_no_split": ("in none of the splits", "dans aucun des jeux"),
    "code_nested_archive": ("archive inside an archive", "archive dans une archive"),
    "code_no_label": ("no label", "sans étiquette"),
    "code_not_a_file": ("not a file", "n’est pas un fichier"),
    "code_not_a_picture": ("not a picture", "ni photo ni dessin"),
    "code_not_text": ("no text in any encoding", "pas du texte, quel que soit l’encodage"),
    "code_repeated_entry": ("entry repeated in the archive", "entrée répétée dans l’archive"),
    "code_too_large": ("too large", "trop grand"),
    "code_too_many": ("too large once decoded", "trop grand une fois décodé"),
    "code_not_a_sound": ("no sound that can be read", "pas un son lisible"),
    "code_no_sound": ("holds no sound", "sans son"),
    "code_not_a_film": ("no film that can be read", "pas un film lisible"),
    "code_no_film": ("holds no film", "sans film"),
    "code_silent": ("silent", "silencieux"),
    "code_too_short": ("too short", "trop court"),
    "code_too_slow": ("took too long to read", "trop long à lire"),
    "code_too_small": ("too small", "trop petit"),
    "code_truncated": ("cut off", "tronqué"),
    "code_unreadable": ("unreadable", "illisible"),
    "code_unsafe_path": ("unsafe path", "chemin dangereux"),
    "code_unsupported_format": ("unsupported format", "format non pris en charge"),
    "code_unusable_name": ("unusable name", "nom inutilisable"),
    "code_wrong_type": ("another kind of file", "autre type de fichier"),
    # units
    "unit_s": ("{n} s", "{n} s"),
    "unit_min": ("{n} min", "{n} min"),
    "unit_h": ("{n} h", "{n} h"),
    "size_units": ("B kB MB GB TB", "o ko Mo Go To"),
    # synthetic data and trials
    **WORDS_SYNTHESIS,
}
