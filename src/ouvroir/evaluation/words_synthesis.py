"""The sentences about synthetic data and trials: a part of `words.WORDS`, in the same form."""

from __future__ import annotations

WORDS_SYNTHESIS: dict[str, tuple[str, str]] = {
    "untried": ("Synthetic data were not tried.", "Les données synthétiques n’ont pas été mises à l’essai."),
    "untried_elsewhere": (
        "The English report says why: `ouvroir report RUN --language en`.",
        "Le rapport anglais dit pourquoi : `ouvroir report RUN --language en`.",
    ),
    # sections
    "section_trial_synthetic": ("Did the synthetic data help?", "Les données synthétiques ont-elles servi ?"),
    "section_made_scores": ("What the synthetic samples are like", "Ce que valent les éléments synthétiques"),
    "section_made_samples": (
        "Synthetic samples beside their nearest real ones",
        "Les éléments synthétiques et leurs plus proches voisins réels",
    ),
    "section_trial_constants": ("What the constants bring", "Ce que les constantes apportent"),
    "section_trials": ("Other things that were tried", "Autres essais"),
    # the verdict in large letters; the first form is of synthetic data, which are feminine and many in French
    "proof_data": ("Synthetic data", "Données synthétiques"),
    "proof_data_admitted": ("ADMITTED", "ADMISES"),
    "proof_data_rejected": ("REJECTED", "REJETÉES"),
    "proof_data_harmful": ("HARMFUL", "NUISIBLES"),
    "proof_data_unreliable": ("UNRELIABLE", "ESSAI PEU FIABLE"),
    "proof_data_untried": ("NOT TRIED", "NON ESSAYÉES"),
    "proof_admitted": ("ADMITTED", "ADMIS"),
    "proof_rejected": ("REJECTED", "REJETÉ"),
    "proof_harmful": ("HARMFUL", "NUISIBLE"),
    "proof_unreliable": ("UNRELIABLE", "ESSAI PEU FIABLE"),
    "proof_untried": ("NOT TRIED", "NON ESSAYÉ"),
    "proof_because_unreliable": ("more seeds are needed", "il faut plus de graines"),
    "proof_because_none": ("no measurable gain", "aucun gain mesurable"),
    "proof_because_losers": ("it costs some classes too much", "des classes y perdent trop"),
    "proof_because_small": ("the gain is too small", "le gain est trop faible"),
    "proof_because_few": ("too few seeds to be sure", "trop peu de graines pour en être sûr"),
    "proof_because_flip": ("the gain may be chance", "le gain peut être un hasard"),
    # its numbers
    "proof_gain_accuracy": ("Gain in accuracy", "Gain d’exactitude"),
    "proof_gain_loss": ("Gain, as a fall of the loss", "Gain, en baisse de la perte"),
    "proof_numbers": (
        "{what}: {gain}, on {items} unseen real items, over {seeds} seeds (sign-flip test: {p}).",
        "{what} : {gain}, sur {items} éléments réels jamais vus, avec {seeds} graines (test par changement de signes : {p}).",
    ),
    "proof_smallest": (
        "A gain of {smallest} or more would probably have been seen.",
        "Un gain de {smallest} ou plus aurait sans doute été décelé.",
    ),
    "proof_no_room": (
        "The ordinary way is right in {mean} already, so there is no room for a gain of the {smallest} that this trial would "
        "probably have seen.",
        "L’entraînement ordinaire donne déjà {mean} de bonnes réponses : il n’y a pas de place pour un gain de {smallest}, le plus "
        "petit que cet essai aurait sans doute décelé.",
    ),
    "proof_short": ("{what}: {verdict}", "{what} : {verdict}"),
    "proof_short_numbers": (
        "{gain} on {items} unseen real items, {seeds} seeds, {p}.",
        "{gain} sur {items} éléments réels jamais vus, {seeds} graines, {p}.",
    ),
    "proof_losers": (
        "Classes shown to lose, by over 2 points: {names}.",
        "Classes qui perdent de façon établie, et plus de 2 points : {names}.",
    ),
    # what it means, for someone who has never seen such a trial
    "proof_how": (
        "The model was trained {seeds} times in this way and {seeds} times in the ordinary one, with the same seeds and {steps} "
        "steps each time. All were judged on the same real items, from which none of them had learned.",
        "Le modèle a été entraîné {seeds} fois de cette manière et {seeds} fois à l’ordinaire, avec les mêmes "
        "graines et {steps} pas à chaque fois. Tous ont été "
        "évalués sur les mêmes éléments réels, dont aucun n’avait servi à l’entraînement.",
    ),
    "proof_means_admitted": (
        "The model answers better with the synthetic data, by more than chance explains: they earned their place.",
        "Avec les données synthétiques, le modèle répond mieux, au-delà de ce que le hasard explique : elles ont gagné leur "
        "place.",
    ),
    "proof_means_rejected": (
        "With and without, the models could not be told apart, so the synthetic data were left out. This is "
        "the usual outcome: a generator that learned from the same data knows nothing more than they do.",
        "Avec ou sans, rien ne permet de départager les modèles : les données synthétiques ont été "
        "laissées de côté. C’est le cas le plus courant : un générateur qui a appris des mêmes données n’en sait pas plus "
        "qu’elles.",
    ),
    "proof_means_losers": (
        "On average the model answers better with the synthetic data, but some classes pay for it, so they were left out.",
        "En moyenne, le modèle répond mieux avec les données synthétiques, mais certaines classes en pâtissent : elles ont "
        "été laissées de côté.",
    ),
    "proof_means_small": (
        "The model answers a little better with the synthetic data, by less than the {least} that would be worth the "
        "trouble, so they were left out.",
        "Avec les données synthétiques, le modèle répond un peu mieux, mais l’écart n’atteint pas le seuil de {least} qui en "
        "vaudrait la peine : elles ont été laissées de côté.",
    ),
    "proof_means_few": (
        "The model seems to answer better with the synthetic data, but {seeds} seeds cannot prove it: at least {least} are "
        "needed. They were left out; `ouvroir prove RUN --seeds {more}` may admit them, having been looked at before.",
        "Avec les données synthétiques, le modèle semble mieux répondre, mais {seeds} graines ne suffisent pas à le prouver : "
        "il en faut au moins {least}. Elles ont été laissées de côté ; "
        "`ouvroir prove RUN --seeds {more}` pourra les admettre, après ce premier regard.",
    ),
    "proof_means_flip": (
        "The model seems to answer better with the synthetic data, but not with every seed: chance may explain it, so they "
        "were left out.",
        "Avec les données synthétiques, le modèle semble mieux répondre, mais pas avec toutes les graines : le hasard peut "
        "l’expliquer. Elles ont été laissées de côté.",
    ),
    "proof_means_harmful": (
        "The model answers worse with the synthetic data, by more than chance explains, so they were left out.",
        "Avec les données synthétiques, le modèle répond moins bien, au-delà de ce que le hasard explique : elles ont été "
        "laissées de côté.",
    ),
    "proof_means_unreliable": (
        "Trained again without any synthetic data and with other seeds only, the model differed from itself. A trial whose "
        "own repetition differs proves nothing: `ouvroir prove RUN --seeds N` goes on with more seeds.",
        "Réentraîné sans données synthétiques, avec seulement d’autres graines, le modèle diffère de lui-même. Un essai dont "
        "la simple répétition diffère ne prouve rien : `ouvroir prove RUN --seeds N` continue avec plus de graines.",
    ),
    "proof_means_untried": (
        "Whether synthetic data help is known only once models were trained with and without them. That was not done here, so "
        "nothing is claimed.",
        "Pour savoir si des données synthétiques servent, il faut entraîner des modèles avec et sans elles. Cela n’a pas été "
        "fait ici : rien n’est donc affirmé.",
    ),
    "trial_left": (
        "{name}: left after {seeds} seeds, since no gain worth having was in reach.",
        "{name} : abandon après {seeds} graines, aucun gain appréciable n’étant à portée.",
    ),
    "proof_cut": ("To know about this trial: {cut}", "À savoir sur cet essai : {cut}"),
    "proof_cut_elsewhere": (
        "There is more to know about this trial.",
        "Cet essai a ses limites ; `ouvroir report RUN --language en` dit en quoi.",
    ),
    "proof_more": ("The trial in numbers", "L’essai en chiffres"),
    "proof_see": ("Look at the samples", "Voir les éléments synthétiques"),
    # trials
    "trial_lead": (
        "Right of the line at 0 is better than the ordinary way of training, left of it is worse.",
        "À droite de la ligne du 0, c’est mieux que l’entraînement ordinaire ; à gauche, moins bien.",
    ),
    "trial_marks": (
        "The dot is the mean over all seeds, the line its 95 % interval, over seeds and items.",
        "Le point est la moyenne sur toutes les graines, le trait son intervalle à 95 %, sur les graines et les éléments.",
    ),
    "trial_marks_seeds": (
        "A small dot is one seed, the large one the mean of all; the line is its 95 % interval, over seeds and items.",
        "Un petit point est une graine, le grand la moyenne de toutes ; le trait est son intervalle à 95 %, sur les graines "
        "et les éléments.",
    ),
    "trial_marks_many": (
        "Several ways were tried, and the 95 % hold for all of them together, so each line is longer than it would be alone.",
        "Plusieurs manières ont été essayées ; les 95 % valent pour toutes ensemble, chaque trait est donc plus long que seul.",
    ),
    "trial_marks_looks": (
        "These test items were looked at before, so the line is longer: 95 % would be too sure.",
        "Ces éléments de test ont déjà servi à juger ; le trait est donc plus long : 95 % serait "
        "trop sûr.",
    ),
    "trial_band": (
        "The shaded strip holds gains under {least}, too small to count.",
        "La bande teintée contient les gains de moins de {least}, trop faibles pour compter.",
    ),
    "trial_same": (
        "The first row compares the ordinary way with itself, with other seeds only: it shows what chance does alone, and its "
        "line should reach across 0. Ways with equal seeds are compared seed by seed, so their lines are mostly shorter.",
        "La première ligne compare l’entraînement ordinaire à lui-même, avec seulement d’autres graines : elle montre ce que "
        "fait le hasard seul, et son trait doit traverser le 0. Les manières de mêmes graines sont comparées graine par graine : "
        "leurs traits sont le plus souvent plus courts.",
    ),
    "trial_same_off": (
        "Here it does not, so no gain in this trial can be trusted, and harm only where it is the larger. This happens to one "
        "sound trial in twenty.",
        "Ce n’est pas le cas ici : aucun gain de cet essai n’est donc fiable, et une perte ne l’est que si elle est plus grande. "
        "Cela arrive à un bon essai sur vingt.",
    ),
    "trial_ordinary": (
        "The ordinary way reaches {mean} on average over the seeds, from {low} to {high}.",
        "L’entraînement ordinaire atteint {mean} en moyenne sur les graines, de {low} à {high}.",
    ),
    "proof_short_trainings": (
        "Tried on short trainings, {steps} steps instead of {full}, which reach {mean}: what holds for these may not hold for a "
        "model that is trained in full.",
        "Essai sur de courts entraînements, {steps} pas au lieu de {full}, qui atteignent {mean} : ce qui vaut pour eux ne vaut "
        "peut-être pas pour un modèle entièrement entraîné.",
    ),
    "trial_size": (
        "{items} unseen real items, {seeds} seeds, {steps} steps each.",
        "{items} éléments réels jamais vus, {seeds} graines, {steps} pas chacune.",
    ),
    "trial_axis_points": ("points of accuracy against the ordinary way", "points d’exactitude par rapport à l’ordinaire"),
    "trial_axis_loss": ("fall of the loss against the ordinary way", "baisse de la perte par rapport à l’ordinaire"),
    "trial_row": ("{name}: {gain}", "{name} : {gain}"),
    "trial_seed": ("seed {number}: {gain}", "graine {number} : {gain}"),
    "trial_seeds": ("One by one: {gains}.", "Graine par graine : {gains}."),
    "trial_gain": ("gain", "gain"),
    "trial_flip": ("sign-flip p", "p (signes)"),
    "trial_flip_note": (
        "Sign-flip p: how often a mean at least so far from 0 would come about if each seed might as well have had the other "
        "sign; under 0.05 is needed. Smallest visible: a true gain of this size would be found in 4 of 5 trials like this "
        "one.",
        "p (signes), du test par changement de signes : à quelle fréquence on obtiendrait une moyenne au moins aussi loin de 0 si "
        "chaque graine avait tout aussi bien pu avoir le signe contraire ; il faut moins "
        "de 0,05. Plus petit écart visible : un vrai gain de cette "
        "taille serait détecté par 4 essais sur 5 comme celui-ci.",
    ),
    "trial_way": ("way of training", "manière d’entraîner"),
    "trial_by_class": ("Class by class", "Classe par classe"),
    "trial_by_class_note": (
        "Only classes with 50 unseen items or more are judged on their own. Of many classes a few seem to gain or lose by "
        "chance.",
        "Seules les classes d’au moins 50 éléments jamais vus sont jugées à part. Parmi de nombreuses classes, quelques-unes "
        "semblent gagner ou perdre par hasard.",
    ),
    "trial_found_admitted": ("a gain is shown", "gain établi"),
    "trial_found_harmful": ("harmful", "nuisible"),
    "trial_found_unreliable": ("unreliable", "peu fiable"),
    # ways of training, by the names that trials give them
    "arm_same": ("ordinary again, other seeds", "l’ordinaire, avec d’autres graines"),
    "arm_synthetic": ("synthetic data", "données synthétiques"),
    "arm_varied": ("variations of rows learned last", "variantes d’éléments appris en dernier"),
    "arm_interpolation": ("control: real rows mixed or repeated", "témoin : éléments réels mélangés ou répétés"),
    # the constants
    "effects_lead": (
        "Each constant was tried against its ordinary value, all in one trial: half of the models had the one, half the "
        "other.",
        "Chaque constante a été comparée à sa valeur ordinaire, toutes dans un même essai : une moitié des modèles avait "
        "l’une, l’autre moitié l’autre.",
    ),
    "effects_none": (
        "No measurable effect of any of them. An effect of {smallest} or more would probably have been seen.",
        "Aucune n’a d’effet mesurable. Un effet de {smallest} ou plus aurait sans doute été décelé.",
    ),
    "effect": ("effect", "effet"),
    "effect_none": ("no measurable effect", "aucun effet mesurable"),
    "effect_admitted": ("better", "mieux"),
    "effect_harmful": ("worse", "moins bien"),
    "effect_unsure": ("too small or too unsure to count", "trop faible ou trop incertain pour compter"),
    "effect_unreliable": ("unreliable", "peu fiable"),
    "effect_short": ("{symbol}: {verdict} ({gain})", "{symbol} : {verdict} ({gain})"),
    # scores
    "made_sum": (
        "{made} made = {kept} kept + {refused} refused.",
        "{made} {made:fabriqué|fabriqués} = {kept} {kept:gardé|gardés} + {refused} {refused:refusé|refusés}.",
    ),
    "made_generator": (
        "The generator learned in {steps} steps ({time}); its loss ended at {train} on what it learned from and at {held_out} "
        "on real samples that it never saw.",
        "Le générateur a appris en {steps} pas ({time}) ; sa perte finit à {train} sur ce dont il a appris et à {held_out} sur "
        "des éléments réels qu’il n’a jamais vus.",
    ),
    "made_features": ("What the scores look at: {features}", "Ce que regardent les notes : {features}"),
    "made_refused": ("Refused, and why", "Refusés, et pourquoi"),
    "made_code_copy": ("a copy", "une copie"),
    "made_code_label": ("another class", "une autre classe"),
    "made_code_too_strange": ("too strange", "trop étrange"),
    "made_code_too_typical": ("too typical", "trop typique"),
    "made_code_off_manifold": ("like nothing real", "sans équivalent réel"),
    "made_code_held_out": ("like a test item", "trop proche du test"),
    "made_code_of_class": ("its whole class", "toute sa classe"),
    "made_code_elsewhere": ("the whole set", "tout l’ensemble"),
    "made_why_copy": (
        "nearer to one real sample than real samples are to each other, or three times nearer to it than to any other",
        "plus proche d’un élément réel que les éléments réels ne le sont entre eux, ou trois fois plus proche de lui que de tout "
        "autre",
    ),
    "made_why_of_class": (
        "most samples of its class are copies or seem to be of another class, so nothing speaks for the rest",
        "la plupart des éléments de sa classe sont des copies ou semblent d’une autre classe : rien ne parle pour les autres",
    ),
    "made_why_elsewhere": (
        "taken together the samples lie elsewhere than the real ones, near hardly any of them",
        "pris ensemble, les éléments synthétiques sont ailleurs que les réels, et proches de presque aucun",
    ),
    "made_why_label": (
        "a classifier takes it for another class, or doubts its own more than it doubts real ones",
        "un classifieur y voit une autre classe, ou doute de la sienne plus que pour les éléments réels",
    ),
    "made_why_too_strange": (
        "less like its class than 95 % of the real samples are",
        "moins semblable à sa classe que 95 % des éléments réels",
    ),
    "made_why_too_typical": (
        "more like its class than 95 % of the real samples are: an average, which teaches nothing",
        "plus semblable à sa classe que 95 % des éléments réels : une moyenne, qui n’enseigne rien",
    ),
    "made_why_off_manifold": (
        "far from every real sample",
        "loin de tous les éléments réels",
    ),
    "made_why_held_out": (
        "nearly the same as a real item kept for judging, so it would give the answers away",
        "presque identique à un élément réel réservé à l’évaluation : il en livrerait la réponse",
    ),
    "made_likeness": ("Likeness to the real samples", "Ressemblance aux éléments réels"),
    "made_likeness_lead": (
        "Mean cosine to the 5 most similar real samples of the class, 1 being the same. Real samples beside each other are "
        "the mark to reach; pure noise shows what the score is worth. More is not better: the average of all is more similar "
        "than any real sample.",
        "Cosinus moyen avec les 5 éléments réels les plus semblables de la classe, 1 étant l’identité. Les éléments réels "
        "entre eux donnent le niveau à atteindre ; le bruit pur montre ce que vaut la note. Plus haut n’est pas mieux : la "
        "moyenne de tous ressemble plus que n’importe quel élément réel.",
    ),
    "made_likeness_little": (
        "Pure noise scores as high here as real samples do: on these data likeness tells little, so trust the other scores.",
        "Ici, le bruit pur obtient autant que les éléments réels : sur ces données la ressemblance dit peu, fiez-vous aux "
        "autres notes.",
    ),
    "made_likeness_noise": ("pure noise (control)", "bruit pur (témoin)"),
    "made_likeness_made": ("synthetic samples", "éléments synthétiques"),
    "made_likeness_real": ("real samples (ceiling)", "éléments réels (plafond)"),
    "made_set": ("The whole set", "L’ensemble"),
    "made_set_lead": (
        "{n} synthetic beside as many real samples. The ceiling is what real samples reach beside other real ones: what is "
        "beyond it is no better than they are.",
        "{n} éléments synthétiques face à autant de réels. Le plafond est ce qu’atteignent des éléments réels face à d’autres : "
        "au-delà, on ne fait pas mieux qu’eux.",
    ),
    "made_score": ("score", "note"),
    "made_here": ("synthetic", "synthétiques"),
    "made_ceiling": ("real (ceiling)", "réels (plafond)"),
    "score_precision": ("precision", "précision"),
    "score_recall": ("recall", "rappel"),
    "score_density": ("density", "densité"),
    "score_coverage": ("coverage", "couverture"),
    "score_kernel_distance": ("kernel distance", "distance à noyau"),
    "score_told_apart": ("told apart", "distinguables"),
    "score_copy_ratio": ("copy ratio", "rapport de copie"),
    "about_score_precision": (
        "share of the synthetic samples that look like some real one",
        "part des éléments synthétiques qui ressemblent à un élément réel",
    ),
    "about_score_recall": (
        "share of the real samples that the generator could have made",
        "part des éléments réels que le générateur aurait pu fabriquer",
    ),
    "about_score_density": (
        "how thickly real samples surround the synthetic ones; about 1 is right",
        "à quel point les éléments réels entourent les synthétiques ; environ 1 convient",
    ),
    "about_score_coverage": (
        "share of the real samples that have a synthetic one near them; low where whole kinds were forgotten",
        "part des éléments réels qui ont un synthétique près d’eux ; basse si des genres entiers ont été oubliés",
    ),
    "about_score_kernel_distance": (
        "how far the two sets are apart as a whole; 0 is the same, and chance goes a little to either side",
        "l’écart entre les deux ensembles ; 0 : les mêmes, et le hasard s’en éloigne un peu des deux côtés",
    ),
    "about_score_told_apart": (
        "how often a simple classifier tells synthetic from real; 50 % is guessing",
        "à quelle fréquence un classifieur simple distingue le synthétique du réel ; 50 % : il devine",
    ),
    "about_score_copy_ratio": (
        "distance to the nearest real sample over that to the second-nearest; near 0 for copies. It is no promise of "
        "privacy",
        "distance à l’élément réel le plus proche, divisée par celle au deuxième ; proche de 0 pour des copies. Ce n’est pas "
        "une garantie de confidentialité",
    ),
    "made_classes": ("Can one learn the classes from them?", "Peut-on apprendre les classes grâce à eux ?"),
    "made_classes_lead": (
        "A simple classifier learned from synthetic samples only and was asked about real ones; beside it, the same from as "
        "many real samples. A class that falls far behind was made badly.",
        "Un classifieur simple, qui n’a appris que d’éléments synthétiques, est interrogé sur des réels ; à côté, le même avec "
        "autant d’éléments réels. Une classe loin derrière a été mal fabriquée.",
    ),
    "made_from_made": ("from synthetic", "appris du synthétique"),
    "made_from_real": ("from real", "appris du réel"),
    "made_classes_row": ("{name}: {made} from synthetic, {real} from real", "{name} : {made} du synthétique, {real} du réel"),
    # samples
    "made_samples_lead": (
        "Nothing below but the right half of each pair is real: on the left a synthetic sample, on the right the real train "
        "sample that is nearest to it. Were they the same, the generator would only have copied.",
        "Seule la moitié droite de chaque paire est réelle : à gauche un élément synthétique, à droite l’élément réel "
        "d’entraînement le plus proche. S’ils étaient identiques, le générateur n’aurait fait que copier.",
    ),
    "made_samples_scores": (
        "label: how sure a classifier is of the class. likeness: to the real samples of the class. copy: nearest over "
        "second-nearest distance, near 0 for a copy. realism: probability of being real, as a classifier sees it; about 50 % "
        "is all that can be had. weight: how much it counts in training.",
        "étiquette : à quel point un classifieur est sûr de la classe. ressemblance : aux éléments réels de la classe. copie : "
        "distance au plus proche sur distance au deuxième, proche de 0 pour une copie. réalisme : probabilité d’être réel "
        "selon un classifieur ; environ 50 % est le mieux possible. poids : ce qu’il compte à l’entraînement.",
    ),
    "made_samples_copy": (
        "copy: nearest over second-nearest distance, near 0 for a copy. Those that refine and prove would refuse as copies are "
        "under “refused”. Whether such samples help is for a trial to show: `ouvroir prove`, with a model that learned the "
        "classes.",
        "copie : distance au plus proche sur distance au deuxième, proche de 0 pour une copie. Ceux que refine et prove "
        "refuseraient comme copies sont sous « refusés ». Que de tels éléments aident, seul un essai le montre : "
        "`ouvroir prove`, avec un modèle qui a appris les classes.",
    ),
    "made_tag": ("synthetic", "synthétique"),
    "made_nearest": ("nearest real", "réel le plus proche"),
    "made_kept": ("kept", "gardés"),
    "made_refused_ones": ("refused", "refusés"),
    "made_of": ("Synthetic sample {name}", "Élément synthétique {name}"),
    "made_right": ("label", "étiquette"),
    "made_alike": ("likeness", "ressemblance"),
    "made_copy": ("copy", "copie"),
    "made_realism": ("realism", "réalisme"),
    "made_weight": ("weight", "poids"),
}  # fmt: skip
