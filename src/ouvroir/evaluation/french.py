"""French for what is said in English elsewhere and shown in the report: notes, reasons of refusals, what settings mean.

A sentence is known by its English form, with names in braces for what is filled in. French may leave out a name, as of a
message of the system that has no French. Tasks bring their own sentences (`Task.french`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import cache
from itertools import chain

from ouvroir.evaluation.french_synthesis import SENTENCES_OF_TRIALS
from ouvroir.evaluation.language import unbroken

SENTENCES: dict[str, str] = {
    # what the constants do in generators
    "Times of a batch are 1/φ apart on the way from noise to sample.": (
        "Les instants d’un lot se suivent à 1/φ sur le chemin du bruit à l’élément."
    ),
    "Lowest frequency by which the time is told to the network.": (
        "Plus basse fréquence par laquelle l’instant est donné au réseau."
    ),
    # notes on labels and splits
    "There is one class, `{a}`. A classifier needs two or more to tell apart.": (
        "Il n’y a qu’une classe, `{a}`. Il en faut au moins deux à un classifieur."
    ),
    "One row only: {a}. It goes into train, so these classes cannot be tested.": (
        "Un seul élément : {a}. Il sert à l’entraînement, ces classes ne peuvent donc pas être testées."
    ),
    "Fewer than {n} rows: {a}. What is measured on them is uncertain.": (
        "Moins de {n} éléments : {a}. Ce qui est mesuré sur ces classes est incertain."
    ),
    "Labels that differ only by case, blanks or accents: {a}. If each is one class, give its files one name.": (
        "Étiquettes qui ne diffèrent que par la casse, les espaces ou les accents : {a}. S’il s’agit d’une même classe, "
        "donnez-lui un seul nom."
    ),
    "No row could be set aside for {a}: there are too few rows or groups. Add some.": (
        "Aucun élément n’a pu être réservé au jeu de {a} : il y a trop peu d’éléments ou de groupes. Ajoutez-en."
    ),
    "Not in the test split: {a}. Their rows are few, or belong together in one group.": (
        "Absentes du jeu de test : {a}. Leurs éléments sont peu nombreux, ou forment un seul groupe."
    ),
    "In the test split but not in train: {a}. These cannot be learned; add rows of them to train.": (
        "Présentes dans le jeu de test mais pas dans celui d’entraînement : {a}. Elles ne peuvent pas être apprises ; "
        "ajoutez-en des éléments à l’entraînement."
    ),
    "Fewer than {n} rows to learn from: {a}.": "Moins de {n} éléments d’entraînement : {a}.",
    # notes on the model to start from
    "Rows of the test that the model to start from has learned from: {n} of {m}. They are left out: what it knows "
    "already does not show how well it does on what is new.": (
        "Éléments du test dont le modèle de départ a appris : {n} sur {m}. Ils sont laissés de côté : ce qu’il connaît déjà ne dit "
        "pas ce qu’il vaut sur du nouveau."
    ),
    "So there is no test: add data that it does not know, or start from nothing.": (
        "Il n’y a donc pas de test : ajoutez des données qu’il ne connaît pas, ou partez de rien."
    ),
    "`{a}` is known to the model to start from, which learned from it, so it can be no test.": (
        "`{a}` est connu du modèle de départ, qui en a appris ; il ne peut donc pas servir de test."
    ),
    "The model to start from knows {a}, and no train row here has {b}. The new model forgets {c} and can no longer answer "
    "with {d}. To keep {e}, add examples of {f} to the data, or train on the old and the new data together.": (
        "Classes oubliées : {a}. Le modèle de départ les connaît, mais aucun élément d’entraînement n’en fait partie ici : le "
        "nouveau modèle ne peut plus les donner pour réponse. Pour les garder, ajoutez-en des exemples aux données, ou "
        "entraînez sur les anciennes et les nouvelles données ensemble."
    ),
    "This model is not compared with the one that it started from: one of them gives a label for each row, and the other "
    "several.": (
        "Ce modèle n’est pas comparé à son modèle de départ : l’un donne une étiquette par élément, l’autre plusieurs."
    ),
    "This model is not compared here with the one that it started from: that one learned from some of the test rows.": (
        "Ce modèle n’est pas comparé ici à son modèle de départ : celui-ci a appris d’une partie des éléments du test."
    ),
    "This model is not compared here with the one that it started from: it is not known what that one learned from.": (
        "Ce modèle n’est pas comparé ici à son modèle de départ : on ne sait pas sur quelles données celui-ci a été entraîné."
    ),
    "This model is not compared here with the one that it started from: that one does not know all labels of the test.": (
        "Ce modèle n’est pas comparé ici à son modèle de départ : celui-ci ne connaît pas toutes les étiquettes du test."
    ),
    "On what neither learned from, and both know the labels of, `{a}` compares them.": (
        "`{a}` les compare sur des éléments dont aucun des deux ne s’est servi pour apprendre et dont tous deux connaissent les "
        "étiquettes."
    ),
    "The model that this one started from was not judged on the same test. {all}": (
        "Le modèle de départ n’a pas été évalué sur le même test : « {all} »"
    ),
    "Learning from other data makes a model forget some of what it learned before: `ouvroir evaluate` on the earlier data, `{a}`, "
    "shows how well it still does there.": (
        "Apprendre d’autres données fait oublier au modèle une part de ce qu’il avait appris : `ouvroir evaluate` sur les données "
        "d’avant, `{a}`, montre ce qu’il en reste."
    ),
    "`{a}` is {b}, and not {c} as was asked for: the data, the other settings or the model to start from decide on it.": (
        "`{a}` vaut {b}, et non {c} comme demandé : ce sont les données, les autres réglages ou le modèle de départ qui décident."
    ),
    "Classes are uneven: `{a}` has {n} rows to learn from, `{b}` {m}. If the rare ones matter as much, let them count as "
    "much.": (
        "Les classes sont inégales : `{a}` a {n} éléments d’entraînement, `{b}` en a {m}. Si les rares importent autant, "
        "faites-les compter autant."
    ),
    "File names look as if {n} groups had several files each ({a}). If files of one group are alike, as takes of one "
    "person are, keep them in one split.": (
        "Les noms de fichiers laissent penser que {n} groupes ont plusieurs fichiers chacun ({a}). Si les fichiers d’un "
        "groupe se ressemblent, comme les prises d’une même personne, gardez-les dans un seul jeu."
    ),
    # notes on folders and tables
    "The label pattern finds no label in the name of `{a}`. Rename it, or widen the pattern.": (
        "Le motif d’étiquette ne trouve pas d’étiquette dans le nom de `{a}`. Renommez-le, ou élargissez le motif."
    ),
    "Folders tell no classes apart, and names look as if they held them: in `{a}` it may be `{b}`, of {n} in all ({c}). If so, "
    "read it there.": (
        "Les dossiers ne distinguent pas de classes, et les noms semblent les contenir : dans `{a}` ce peut être `{b}`, parmi {n} "
        "en tout ({c}). Si c’est le cas, lisez-la là."
    ),
    "Classes were read from folder level {n} ({a}); the folders below ({b}) repeat. If those are the classes and the upper "
    "ones persons or sources, say that the upper level is one of groups.": (
        "Les classes ont été lues au niveau de dossiers {n} ({a}) ; les dossiers du niveau inférieur ({b}) se répètent. Si "
        "ce sont eux les classes, et ceux du niveau supérieur des personnes ou des sources, dites que le niveau supérieur "
        "est celui des groupes."
    ),
    "The only file lies directly in `{b}`, without a folder for each class, so it has no label.": (
        "Le seul fichier est directement dans `{b}`, sans un dossier par classe : il n’a pas d’étiquette."
    ),
    "The {a} files lie directly in `{b}`, without a folder for each class, so none has a label.": (
        "Les {a} fichiers sont directement dans `{b}`, sans un dossier par classe : aucun n’a d’étiquette."
    ),
    "`{a}` looks like one class beside others ({b}): give the folder that holds them, `ouvroir check {c}`.": (
        "`{a}` semble être une classe parmi d’autres ({b}) : donnez le dossier qui les contient, `ouvroir check {c}`."
    ),
    "Sort them into folders inside it, one for each class, or give a table with a column of labels.": (
        "Rangez-les dans des sous-dossiers, un par classe, ou donnez un tableau avec une colonne d’étiquettes."
    ),
    "Labels of `{a}` look like lists, such as `{b}`. If a file may have several labels, say what stands between them; "
    "otherwise `{c}` is one label.": (
        "Les étiquettes de `{a}` ressemblent à des listes, comme `{b}`. Si un fichier peut avoir plusieurs étiquettes, dites "
        "ce qui les sépare ; sinon, `{c}` est une seule étiquette."
    ),
    "The column `{a}` of `{b}` repeats. If its rows belong together, as all recordings of one person do, keep them in one "
    "split. Otherwise the test may look better than it is.": (
        "Les valeurs de la colonne `{a}` de `{b}` se répètent. Si leurs lignes vont ensemble, comme les enregistrements "
        "d’une même personne, gardez-les dans un seul jeu. Sinon, le test peut paraître meilleur qu’il n’est."
    ),
    "{a} The table was not used.": "Un tableau n’a pas pu servir ; `ouvroir check` dit pourquoi.",
    "{a} Folders were taken as classes instead.": (
        "Un tableau nomme des fichiers, mais aucune colonne ne ressemble à une étiquette : les dossiers ont servi de "
        "classes. `--label-column` permet de la nommer."
    ),
    "`{a}` has no line with names of columns: its first line names a file, so it was read as a row, and the columns are "
    "called {b}. To name them yourself, put a line such as `file,label` on top.": (
        "`{a}` n’a pas de ligne de noms de colonnes : sa première ligne nomme un fichier, elle a donc été lue comme un "
        "élément, et les colonnes s’appellent {b}. Pour les nommer vous-même, mettez en tête une ligne comme `fichier,classe`."
    ),
    "`{a}` was read: {b}.": "`{a}` a été lu : {b}.",
    "No table of labels was used, so the column `{a}` has no effect; folders are the classes.": (
        "Aucun tableau d’étiquettes n’a servi : la colonne `{a}` est sans effet, et les dossiers sont les classes."
    ),
    "`{a}` is not UTF-8; it was read as {b}. Look at a place with accents to see that it is right.": (
        "`{a}` n’est pas en UTF-8 ; il a été lu comme {b}. Vérifiez un endroit qui porte des accents."
    ),
    "`{a}` holds zero bytes, which were left out. Was it cut while being copied?": (
        "`{a}` contient des octets nuls, qui ont été ignorés. A-t-il été tronqué lors d’une copie ?"
    ),
    "`{a}` is a link to a folder that is listed already; it was not entered again.": (
        "`{a}` est un lien vers un dossier déjà parcouru ; il n’a pas été parcouru de nouveau."
    ),
    "Nothing of what was found ({n} in all) can be used. The first: {a}": (
        "Rien de ce qui a été trouvé ({n} en tout) n’est utilisable. Le premier : {a}"
    ),
    "{n} more files have oddities of this kind.": "{n} autres fichiers présentent des particularités de ce genre.",
    "1 more file has an oddity of this kind.": "1 autre fichier présente une particularité de ce genre.",
    "Long files are cut at the ends of lines. Files: {n}; blocks: {m}, each a row.": (
        "Les longs fichiers sont coupés en fin de ligne. Fichiers : {n} ; blocs : {m}, qui sont les éléments ici."
    ),
    "Blocks that lie side by side stay in one split, up to {n} at a time, so that few passages are on both sides of a border.": (
        "Les blocs voisins restent dans le même jeu, par suites de {n} au plus, pour que peu de passages soient des deux côtés "
        "d’une limite."
    ),
    "Turns of conversations in which nothing is said are left out: {n} of {m} in `{a}`.": (
        "Les tours de conversation où rien n’est dit sont laissés de côté : {n} sur {m} dans `{a}`."
    ),
    "Turns of conversations in which nothing is said are left out: {n} of {m} in the first rows of `{a}`.": (
        "Les tours de conversation où rien n’est dit sont laissés de côté : {n} sur {m} dans les premières lignes de `{a}`."
    ),
    "`{a}` of `{b}` is taken for the labels since its values repeat. If they are none, say so: the texts are then a corpus.": (
        "`{a}` de `{b}` est pris pour les étiquettes, car ses valeurs se répètent. Si ce n’en sont pas, dites-le : les textes "
        "forment alors un corpus."
    ),
    "`{a}` of `{b}` may hold labels. It is not used: the texts are a corpus. If they are to be told apart by it, say so.": (
        "`{a}` de `{b}` contient peut-être des étiquettes. Cette colonne ne sert pas : les textes forment un corpus. S’il faut les "
        "distinguer par elle, dites-le."
    ),
    "Folders are taken for classes, and most hold one text: {a}. If they are no classes, say so: the texts are then a corpus.": (
        "Les dossiers sont pris pour des classes, et la plupart contiennent un seul texte : {a}. S’ils n’en sont pas, dites-le : "
        "les textes forment alors un corpus."
    ),
    "Taken as splits by their folders: {a}.": "Pris comme jeux d’après leurs dossiers : {a}.",
    "Files that a table names outside of the folders of splits, which are to learn from: {n}, such as `{a}`.": (
        "Fichiers qu’un tableau nomme hors des dossiers de jeux et qui servent à apprendre : {n}, dont `{a}`."
    ),
    "Taken as splits by their names: {a}.": "Pris comme jeux d’après leurs noms : {a}.",
    "Taken as splits by their folders and names: {a}.": "Pris comme jeux d’après leurs dossiers et leurs noms : {a}.",
    "Tables that neither hold texts nor name files that {a} reads are not used: {b}.": (
        "Tableaux qui ne contiennent pas de textes et ne nomment pas de fichiers que {a} lit, donc laissés de côté : {b}."
    ),
    "Other tables are called like a split, or lie in a folder that is, and are not used: {a}. Tables of splits are used together "
    "where they, or their folders that are called so, lie in one folder.": (
        "D’autres tableaux portent le nom d’un jeu, ou sont dans un dossier qui le porte, et ne servent pas : {a}. Les tableaux de "
        "jeux servent ensemble là où eux-mêmes, ou leurs dossiers nommés ainsi, sont dans un même dossier."
    ),
    "All other tables are to learn from.": "Tous les autres tableaux servent à l’entraînement.",
    "Tables without the column `{a}` that was named are read as usual: {b}.": (
        "Tableaux sans la colonne `{a}` demandée, lus comme d’ordinaire : {b}."
    ),
    "Tables that were read beside these: {n}, such as `{a}`.": "Autres tableaux lus : {n}, dont `{a}`.",
    "`{a}` is another table, and rows are read from {b}. Give its path to use it.": (
        "`{a}` est un autre tableau, et les éléments sont lus dans {b}. Donnez son chemin pour l’utiliser."
    ),
    "To learn from all texts without labels: --set data.labels=false.": (
        "Pour apprendre de tous les textes sans étiquettes : --set data.labels=false."
    ),
    "Tables that have more than {b} together are read a block at a time, as they are needed: the {n} records with a text of `{a}` "
    "are {m} blocks, each a row.": (
        "Des tableaux de plus de {b} à eux tous sont lus bloc par bloc, au fur et à mesure : les {n} enregistrements de `{a}` qui "
        "portent un texte font {m} blocs, un élément chacun."
    ),
    "Records of `{a}` that are left out: {n}. Not readable: {m}, without a text: {k}.": (
        "Enregistrements de `{a}` laissés de côté : {n}. Illisibles : {m}, sans texte : {k}."
    ),
    "The first {n} are listed one by one.": "Les {n} premiers sont énumérés un à un.",
    # notes on rows that are alike
    "Numbered files lie in {n} folders inside other folders, as the parts of one recording do. If each folder is one item, say so: "
    "`--task {a}`.": (
        "Des fichiers numérotés se trouvent dans {n} dossiers à l’intérieur d’autres dossiers, comme les parties d’un même "
        "enregistrement. Si chaque dossier est un élément, dites-le : `--task {a}`."
    ),
    "Files of another kind than most, which are not read: {n}, such as `{a}`. To learn from these instead: `--task {b}`.": (
        "Fichiers d’un autre type que la plupart, qui ne sont pas lus : {n}, comme `{a}`. Pour apprendre plutôt de ceux-ci : "
        "`--task {b}`."
    ),
    "Numbered files: {n}, in folders: {m}. Each of these folders was read as one row.": (
        "Fichiers numérotés : {n}, dossiers : {m}. Chacun de ces dossiers a été lu comme un élément."
    ),
    "`{a}` holds no files.": "`{a}` ne contient aucun fichier.",
    "{n} of {m} test rows have the same `{a}` as rows that are learned from. If that is where they come from, this split leaks: "
    "the test says how the model does on these very sources, not on new ones.": (
        "{n} des {m} éléments du test ont le même `{a}` que des éléments d’entraînement. S’il dit d’où ils viennent, il y "
        "a une fuite entre les jeux : le test dit ce que vaut le modèle sur ces sources-là, pas sur de nouvelles."
    ),
    "{n} of {m} test rows are, by their names, of groups that are learned from too. If these groups are real, this split leaks: "
    "the test says how the model does on these very groups, not on new ones.": (
        "{n} des {m} éléments du test sont, d’après leurs noms, de groupes dont on apprend aussi. Si ces groupes sont réels, il y "
        "a une fuite entre les jeux : le test dit ce que vaut le modèle sur ces groupes-là, pas sur de nouveaux."
    ),
    "Files that the pattern `{a}` puts into groups: {n} of {m}. Groups: {k}.": (
        "Fichiers que le motif `{a}` répartit en groupes : {n} sur {m}. Groupes : {k}."
    ),
    "Files of different groups are alike, so that keeping alike files together would put most rows into one group. The "
    "groups were kept apart; alike files may lie in different splits.": (
        "Des fichiers de groupes différents se ressemblent : les réunir mettrait presque tout dans un seul groupe. Les "
        "groupes sont donc restés séparés, et des fichiers semblables peuvent se trouver dans des jeux différents."
    ),
    "{a} the content of another, e.g. {b}. They are kept in one split; in validation and test each content is judged once.": (
        "{a} le contenu d’un autre, par exemple {b}. Ils restent dans un même jeu ; en validation et en test, chaque contenu "
        "n’est évalué qu’une fois."
    ),
    "{a} copies under different labels: {b}.": "{a} des copies sous des étiquettes différentes : {b}.",
    "Those in validation and test ({n}) are not judged by, since no answer to them can be right.": (
        "Ceux de validation et de test ({n}) ne sont pas évalués : aucune réponse ne peut y être juste."
    ),
    "Those in train ({n}) are learned from under each of their labels.": (
        "Ceux d’entraînement ({n}) sont appris sous chacune de leurs étiquettes."
    ),
    "Decide which label is right and delete the other copies.": (
        "Décidez quelle étiquette est la bonne et supprimez les autres copies."
    ),
    "{a} of nearly the same files with different labels: {b}. Look which label is right.": (
        "{a} de fichiers presque identiques aux étiquettes différentes : {b}. Vérifiez laquelle est la bonne."
    ),
    "The label here is {a}, and {b} there: look which one is right.": (
        "L’étiquette est {a} ici et {b} là : vérifiez laquelle est la bonne."
    ),
    "Of these, {n} had another label there; the result is by the label of the copy that was kept.": (
        "Parmi eux, {n} y avaient une autre étiquette ; le résultat suit celle de la copie gardée."
    ),
    "{n} files are nearly the same as another one, e.g. {a}. They are kept in one split.": (
        "{n} fichiers sont presque identiques à un autre, par exemple {a}. Ils restent dans un même jeu."
    ),
    "{n} rows are nearly the same as another one, e.g. {a}. They are kept in one split.": (
        "{n} éléments sont presque identiques à un autre, par exemple {a}. Ils restent dans un même jeu."
    ),
    "Rows that lie both in a split to learn from and in one to judge by: {n} ({a}). The copies to learn from were refused.": (
        "Éléments présents à la fois dans un jeu d’entraînement et dans un jeu d’évaluation : {n} ({a}). Les copies "
        "d’entraînement ont été refusées."
    ),
    "Pairs of nearly the same files in different splits of yours: {n}, e.g. `{a}` and `{b}`. The result on them may look better "
    "than it is.": (
        "Paires de fichiers presque identiques dans des jeux différents parmi les vôtres : {n}, par exemple `{a}` et `{b}`. Le "
        "résultat peut en paraître meilleur qu’il n’est."
    ),
    "Groups that lie in several splits of yours: {n} ({a}). Your splits were kept as they are, so the test says how the model does "
    "on groups that it knows, not on new ones.": (
        "Groupes répartis sur plusieurs de vos jeux : {n} ({a}). Vos jeux ont été gardés tels quels : le test dit ce que vaut le "
        "modèle sur des groupes qu’il connaît, pas sur de nouveaux."
    ),
    # refusals
    "`{a}` has the same content as `{b}` of the {c} split, so it is not trained on.": (
        "`{a}` a le même contenu que `{b}` du jeu de {c} : il ne sert pas à l’entraînement."
    ),
    "`{a}` has the same content as `{b}` of the test split, so it is left out.": (
        "`{a}` a le même contenu que `{b}` du jeu de test : il est laissé de côté."
    ),
    "`{a}` has changed since it was checked.": "`{a}` a changé depuis son contrôle.",
    "`{a}` is a zip beside other files or below them. Unpack it, or give it alone.": (
        "`{a}` est un zip parmi d’autres fichiers. Décompressez-le, ou donnez-le seul."
    ),
    "`{a}` is a folder. Give the files in it.": "`{a}` est un dossier. Donnez les fichiers qu’il contient.",
    "`{a}` is not of a kind that {b} reads ({c}).": "`{a}` n’est pas d’un type que {b} sait lire ({c}).",
    "it has no suffix": "sans extension",
    "`{a}` lies outside of the train, validation and test folders. Move it into one.": (
        "`{a}` est en dehors des dossiers d’entraînement, de validation et de test. Placez-le dans l’un d’eux."
    ),
    "`{a}` lies in no class folder, so it has no label. Move it into the folder of its class.": (
        "`{a}` n’est dans aucun dossier de classe : il n’a pas d’étiquette. Placez-le dans le dossier de sa classe."
    ),
    "Row {n} of `{a}` is left out: {b}.": "La ligne {n} de `{a}` est mal formée : elle est laissée de côté.",
    "Row {n} of `{a}` has no label.": "La ligne {n} de `{a}` n’a pas d’étiquette.",
    "Row {n} of `{a}` has no text.": "La ligne {n} de `{a}` n’a pas de texte.",
    "`{a}` names no file.": "`{a}` ne nomme aucun fichier.",
    "`{a}` names `{b}`, which may be {c}. Write the whole path.": (
        "`{a}` nomme `{b}`, qui peut être {c}. Écrivez le chemin complet."
    ),
    "`{a}` names `{b}`, which is not there. Add the file or drop the row.": (
        "`{a}` nomme `{b}`, qui n’existe pas. Ajoutez le fichier ou retirez la ligne."
    ),
    "`{a}` names `{b}`, which is not there; `{c}` is. Write capitals as the file has them.": (
        "`{a}` nomme `{b}`, qui n’existe pas ; `{c}` existe. Écrivez les majuscules comme dans le nom du fichier."
    ),
    "`{a}` is not read: the texts are those of `{b}`. Make it a row there, or move the table away.": (
        "`{a}` n’est pas lu : les textes sont ceux de `{b}`. Faites-en une ligne de ce tableau, ou déplacez le tableau."
    ),
    "Blocks of which most stands in a more held-out split too: {n} ({a}). They stay, since they are most of the {b} split: the "
    "texts repeat themselves, and figures flatter.": (
        "Blocs dont l’essentiel se trouve aussi dans un jeu plus réservé : {n} ({a}). Ils restent, car ils sont l’essentiel "
        "du jeu « {b} » : les textes se répètent, et les chiffres flattent."
    ),
    "Blocks of which most stands in a more held-out split too: {n} ({a}), as in two editions of one book. They are left out, since "
    "what is held out must be new to the model.": (
        "Blocs dont l’essentiel se trouve aussi dans un jeu plus réservé : {n} ({a}), comme dans deux éditions d’un même livre. "
        "Ils sont laissés de côté, car ce qui est réservé doit être nouveau pour le modèle."
    ),
    "Blocks that hold part of a held-out one of which most would be learned: {n} ({a}). They are left out.": (
        "Blocs qui contiennent une partie d’un bloc réservé dont l’essentiel serait appris : {n} ({a}). Ils sont laissés de côté."
    ),
    "Blocks that hold part of a held-out one of which most would be learned: {n} ({a}). They stay, since they are many: the texts "
    "repeat themselves, and figures flatter.": (
        "Blocs qui contiennent une partie d’un bloc réservé dont l’essentiel serait appris : {n} ({a}). Ils restent, car ils sont "
        "nombreux : les textes se répètent, et les chiffres flattent."
    ),
    "`{a}` holds part of a held-out block, so it is left out.": (
        "`{a}` contient une partie d’un bloc réservé ; il est donc laissé de côté."
    ),
    "Rows of the {b} split that stand word for word in a more held-out text: {n} ({a}). They stay, since they are most of that "
    "split: what is held out is mostly known, and figures flatter.": (
        "Éléments du jeu « {b} » qui se trouvent mot pour mot dans un texte plus réservé : {n} ({a}). Ils restent, car ils sont "
        "l’essentiel de ce jeu : ce qui est réservé est surtout connu, et les chiffres flattent."
    ),
    "Rows of the {b} split that stand word for word in a more held-out text: {n} ({a}), as a turn does in a conversation. They are "
    "left out, since what is held out must be new to the model.": (
        "Éléments du jeu « {b} » qui se trouvent mot pour mot dans un texte plus réservé : {n} ({a}), comme un tour dans une "
        "conversation. Ils sont laissés de côté, car ce qui est réservé doit être nouveau pour le modèle."
    ),
    "`{a}` stands word for word in `{b}` of the {c} split, so it is left out.": (
        "`{a}` se trouve mot pour mot dans `{b}` du jeu de {c} ; il est donc laissé de côté."
    ),
    "Most of `{a}` stands in the {b} split too, so it is left out.": (
        "L’essentiel de `{a}` se trouve aussi dans le jeu « {b} » ; il est donc laissé de côté."
    ),
    "One column of texts is read, and `{a}` has others: {b}.": (
        "Une seule colonne de textes est lue, et `{a}` en a d’autres : {b}."
    ),
    "Files beside the tables that are taken for texts too: {n}, such as {a}. Move away what is no text to learn from.": (
        "Fichiers à côté des tableaux, pris eux aussi pour des textes : {n}, dont {a}. Déplacez ce qui n’est pas un texte à "
        "apprendre."
    ),
    "`{a}` is a table without a column of texts, so it is not read.": (
        "`{a}` est un tableau sans colonne de textes ; il n’est donc pas lu."
    ),
    "Taken as splits by their names: {a}. All other files are to learn from.": (
        "Pris comme jeux d’après leurs noms : {a}. Tous les autres fichiers servent à l’entraînement."
    ),
    "Folders are not taken as classes, though {n} of them lie in some, since the texts of the tables have none.": (
        "Les dossiers ne sont pas pris comme classes, bien que {n} d’entre eux soient dans des dossiers, puisque les textes des "
        "tableaux n’en ont pas."
    ),
    "`{a}` is named by no row of the table. Add a row for it, or leave it.": (
        "`{a}` n’est nommé par aucune ligne du tableau. Ajoutez-en une, ou laissez-le."
    ),
    "The folder `{a}` could not be opened: {b}. Change its permissions.": (
        "Le dossier `{a}` n’a pas pu être ouvert. Changez ses droits d’accès."
    ),
    "`{a}` is a link that leads nowhere.": "`{a}` est un lien qui ne mène nulle part.",
    "`{a}` could not be looked at: {b}.": "`{a}` n’a pas pu être examiné.",
    "`{a}` is a pipe, a socket or a device, not a file.": "`{a}` est un tube, une socket ou un périphérique.",
    "`{a}` is a run, a model or the cache of Ouvroir, so what it holds is no data.": (
        "`{a}` est un entraînement, un modèle ou le cache d’Ouvroir ; ce qu’il contient n’est pas une donnée."
    ),
    "`{a}` is hidden or belongs to the system.": "`{a}` est caché ou appartient au système.",
    "The name of `{a}` is not UTF-8. Rename the file.": "Le nom de `{a}` n’est pas en UTF-8. Renommez le fichier.",
    "The name of `{a}` contains `{b}`. Rename the file.": "Le nom de `{a}` contient `{b}`. Renommez le fichier.",
    "`{a}` is in the zip again under the same name; the last one counts.": (
        "`{a}` figure de nouveau dans le zip sous le même nom ; le dernier compte."
    ),
    "`{a}` leads out of its archive, so it is not opened.": "`{a}` mène hors de son archive : il n’est pas ouvert.",
    "`{a}` is encrypted. Unpack it with its password and give the folder.": (
        "`{a}` est chiffré. Décompressez-le avec son mot de passe et donnez le dossier."
    ),
    "`{a}` is a zip inside a zip. Unpack it and give the folder.": (
        "`{a}` est un zip dans un zip. Décompressez-le et donnez le dossier."
    ),
    "`{a}` is not there. Was it moved or deleted?": "`{a}` n’existe pas. A-t-il été déplacé ou supprimé ?",
    "`{a}` may not be read by you. Change its permissions.": "Vous n’avez pas le droit de lire `{a}`. Changez ses droits.",
    "`{a}` could not be read: {b}.": "`{a}` n’a pas pu être lu.",
    "`{a}` could not be unpacked: {b}.": "`{a}` n’a pas pu être décompressé.",
    "`{a}` could not be decoded: {b}: {c}.": "`{a}` n’a pas pu être décodé.",
    "`{a}` took longer than {b} s to open, so it was left out.": (
        "`{a}` a demandé plus de {b} s pour être ouvert : il est laissé de côté."
    ),
    "`{a}` made its decoder crash ({b}), so it was left out. The file is probably damaged.": (
        "`{a}` a fait planter son décodeur : il est laissé de côté. Le fichier est probablement endommagé."
    ),
    "`{a}` cannot be opened as a zip: {b}. Download or pack it again.": (
        "`{a}` n’a pas pu être ouvert comme zip. Téléchargez-le ou recréez-le."
    ),
    "`{a}` is 0 bytes long.": "`{a}` est vide (0 octet).",
    "`{a}` has no line with names of columns: its first line holds a text and a label, so it was read as a row, and the columns "
    "are called {b}. To name them yourself, put a line such as `text,label` on top.": (
        "`{a}` n’a pas de ligne avec les noms des colonnes : sa première ligne contient un texte et une étiquette, elle a donc été "
        "lue comme un élément, et les colonnes s’appellent {b}. Pour les nommer vous-même, mettez en tête une ligne telle que "
        "`text,label`."
    ),
    "The first line of `{a}` was read as names of columns, and not as a row. If it is a row, put a line such as `text,label` above "
    "it.": (
        "La première ligne de `{a}` a été lue comme les noms des colonnes, et non comme un élément. Si c’en est un, mettez "
        "au-dessus une ligne telle que `text,label`."
    ),
    "This is a made-up sample that comes with Ouvroir, to try it on: results on it say nothing of real data.": (
        "C’est un échantillon fabriqué, fourni avec Ouvroir pour l’essayer : les résultats ne disent rien de données réelles."
    ),
    "`{a}` is larger than {b}, the most that one item may have. Cut it, or make it smaller.": (
        "`{a}` dépasse {b}, le plus qu’un élément puisse avoir. Coupez-le, ou réduisez-le."
    ),
    "`{a}` needs more memory to open than one file may take. Make it smaller, or leave it out.": (
        "`{a}` demande, pour être ouvert, plus de mémoire qu’un fichier ne peut en prendre. Réduisez-le, ou laissez-le "
        "de côté."
    ),
    # what is filled into sentences
    "{a} and {n} more": "{a} et {n} de plus",
    "`{a}` that of `{b}`": "`{a}` celui de `{b}`",
    "1 file repeats": "1 fichier répète",
    "{n} files repeat": "{n} fichiers répètent",
    "1 row repeats": "1 élément répète",
    "{n} rows repeat": "{n} éléments répètent",
    "1 content has": "1 contenu a",
    "{n} contents have": "{n} contenus ont",
    "1 pair": "1 paire",
    "{n} pairs": "{n} paires",
    "validation": "validation",
    "test": "test",
    # settings
    "Absolute path of the data, as the user gave it.": "Chemin absolu des données, tel qu’il a été donné.",
    "Fingerprint of the manifest that was trained on.": "Empreinte du manifeste qui a servi à l’entraînement.",
    "Share of the rows for validation, unless the data has a validation split; 0.15 when absent, 0.1 for a corpus.": (
        "Part des éléments pour la validation, sauf si les données ont leur propre jeu ; 0,15 par défaut, 0,1 pour un corpus."
    ),
    "Share of the rows for the test, unless the data has a test split; 0.2 when absent, 0.1 for a corpus.": (
        "Part des éléments pour le test, sauf si les données ont leur propre jeu ; 0,2 par défaut, 0,1 pour un corpus."
    ),
    "Train rows per class; the rest is shared between validation and test.": (
        "Éléments d’entraînement par classe ; le reste se partage entre validation et test."
    ),
    "Table column that holds file paths; found by itself when absent.": (
        "Colonne du tableau qui contient les chemins ; trouvée automatiquement sinon."
    ),
    "Table column that holds the text, where rows are texts; found by itself when absent.": (
        "Colonne du tableau qui contient le texte, quand les éléments sont des textes ; trouvée automatiquement sinon."
    ),
    "Whether labels are taken, from tables, folders or names; texts without any are a corpus.": (
        "Si des étiquettes sont prises, dans les tableaux, dossiers ou noms ; des textes qui n’en ont pas forment un corpus."
    ),
    "Table column that holds the label; found by itself when absent.": (
        "Colonne du tableau qui contient l’étiquette ; trouvée automatiquement sinon."
    ),
    "Splits a label into several (multi-label), e.g. '|'.": "Sépare une étiquette en plusieurs, par exemple « | ».",
    "Regular expression on the file name; its first group is the label, where neither folders nor a table say it.": (
        "Expression régulière sur le nom du fichier ; son premier groupe est l’étiquette, quand ni dossier ni tableau ne la disent."
    ),
    "Table column whose equal values stay in one split.": (
        "Colonne du tableau dont les valeurs égales restent dans un même jeu."
    ),
    "Folder level (1 is just below the data) whose files stay in one split.": (
        "Niveau de dossiers (1 : juste sous les données) dont les fichiers restent dans un même jeu."
    ),
    "Regular expression on the file name; its first group stays in one split.": (
        "Expression régulière sur le nom du fichier ; son premier groupe reste dans un même jeu."
    ),
    "Seed of the splits.": "Graine du tirage des jeux.",
    "The one dial: width, depth, batch and learning rate follow.": (
        "Le seul réglage de taille : largeur, profondeur, lot et taux d’apprentissage en découlent."
    ),
    "'scratch', a run folder, a folder of pretrained weights, or a hub name.": (
        "« scratch », le dossier d’une exécution, un dossier de poids préentraînés ou un nom du hub."
    ),
    "What learns: 'all', 'head', 'last:N' parts, or names of parts joined by commas.": (
        "Ce qui est entraîné : « all », « head », « last:N », ou des noms de parties séparés par des virgules."
    ),
    "Optimiser; muon moves matrices, adamw the rest.": "Optimiseur ; muon optimise les matrices, adamw le reste.",
    "Peak learning rate.": "Taux d’apprentissage maximal.",
    "Decay of matrices and kernels; not of biases and norms.": (
        "Décroissance des matrices et des noyaux ; ni des biais ni des normes."
    ),
    "Momentum of sgd and muon, beta1 of adam.": "Inertie de sgd et de muon, beta1 d’adam.",
    "Second beta of adam and adamw.": "Second beta d’adam et d’adamw.",
    "Course of the rate.": "Évolution du taux d’apprentissage.",
    "Share of the steps in which the rate rises.": "Part des pas pendant lesquels le taux monte.",
    "Gradients are clipped to this norm; 0 is never.": "Les gradients sont ramenés à cette norme ; 0 : jamais.",
    "Decay of the averaged weights that are judged and kept; 0 is none.": (
        "Décroissance de la moyenne des poids, celle qui est évaluée et gardée ; 0 : aucune moyenne."
    ),
    "Each part before the last learns at this ratio of the next.": (
        "Chaque partie avant la dernière apprend à cette fraction du taux de la suivante."
    ),
    "Optimiser steps; worked out from epochs or minutes and written here before step 1.": (
        "Pas d’optimisation ; déduits des passages ou des minutes et notés ici avant le pas 1."
    ),
    "Passes over the train rows, when neither steps nor minutes are given.": (
        "Passages sur les données d’entraînement, quand ni pas ni minutes ne sont donnés."
    ),
    "Time to train; turned into steps by measuring the speed.": (
        "Durée d’entraînement ; convertie en pas d’après la vitesse mesurée."
    ),
    "Rows per optimiser step, over all processes.": "Éléments par pas d’optimisation, tous processus compris.",
    "Rows per forward pass and process; found by the memory rehearsal.": (
        "Éléments par passe avant et par processus ; déterminé par l’essai de mémoire."
    ),
    "Recompute activations to save memory; found by the memory rehearsal.": (
        "Recalculer les activations pour économiser la mémoire ; déterminé par l’essai de mémoire."
    ),
    "Arithmetic; auto measures and writes the faster one.": "Arithmétique ; auto mesure et note la plus rapide.",
    "Memory layout; auto measures.": "Disposition en mémoire ; auto mesure.",
    "Threads of one process on a CPU; 0 measures.": "Fils d’exécution d’un processus sur CPU ; 0 : mesuré.",
    "Run frozen parts once and keep what they give; auto does where there is room, and writes it here.": (
        "Calculer une seule fois les parties figées ; auto le fait s’il y a la place, et le note ici."
    ),
    "Steps between validations; worked out when absent.": "Pas entre deux validations ; calculé sinon.",
    "Steps between checkpoints; worked out when absent.": "Pas entre deux sauvegardes ; calculé sinon.",
    "Share of the steps after which one more checkpoint is kept, to branch from; 0 is none.": (
        "Part des pas après laquelle une sauvegarde de plus est gardée comme point de départ ; 0 : aucune."
    ),
    "Stop after so many validations without a gain; 0 is never.": (
        "Arrêt après tant de validations sans progrès ; 0 : jamais."
    ),
    "balanced draws every class equally often.": "balanced : chaque classe est tirée aussi souvent.",
    "Same weights to the bit on any number of processes, by virtual shards.": (
        "Mêmes poids au bit près quel que soit le nombre de processus, par fragments virtuels."
    ),
    "Share of each batch that synthetic rows make up, where there are any; none in the last fifth of the steps.": (
        "Part de chaque lot faite d’éléments synthétiques, s’il y en a ; aucune dans le dernier cinquième des pas."
    ),
    "Pieces of a batch that share random numbers; processes must divide it.": (
        "Morceaux d’un lot qui partagent des nombres aléatoires ; le nombre de processus doit le diviser."
    ),
    "Seed of weights, order and augmentation.": "Graine des poids, de l’ordre et des variations aléatoires.",
    "Hidden widths of the head fall by this ratio: w, w/φ, w/φ².": (
        "Les largeurs cachées de la tête décroissent selon ce rapport : w, w/φ, w/φ²."
    ),
    "Temperature of attention: queries and keys have unit length and logits are q·k·√d/π; in language models these are as "
    "they are, and logits q·k/π.": (
        "Température de l’attention : requêtes et clés sont de longueur 1 et les logits valent q·k·√d/π ; dans les modèles de "
        "langage, celles-ci restent telles quelles et les logits valent q·k/π."
    ),
    "Initial scale of each residual branch (LayerScale).": "Échelle initiale de chaque branche résiduelle (LayerScale).",
    "Coefficient on the entropy of predictions in the loss: CE − H(p)/12, a confidence penalty.": (
        "Coefficient de l’entropie des prédictions dans la perte : CE − H(p)/12, une pénalité de confiance."
    ),
}
_NUMBERS = ("n", "m", "k")  # names in braces that stand for whole numbers
_WHAT_TABLES_HOLD = {
    "paths": "chemins",
    "texts": "textes",
    "labels": "étiquettes",
    "splits": "jeux",
    "groups": "groupes",
}


def in_french(text: str, own: Mapping[str, str] | None = None) -> str | None:
    """The English `text` in French, by `SENTENCES` and a task's own; None when it is not known.

    Several sentences may follow one another.
    """
    for english, french in chain((own or {}).items(), SENTENCES.items(), SENTENCES_OF_TRIALS.items()):
        found = _pattern(english).fullmatch(text)
        if found is None:
            continue
        values = found.groupdict()
        after = values.pop("_after")
        rest = "" if after is None else in_french(after, own)
        if rest is None:
            continue
        names = set(re.findall(r"`\{(\w+)\}`", english))  # of files and labels: they stay as they are
        told = {name: value if name in names else _filled(value, own) for name, value in values.items()}
        told |= {name: value.replace(",", "\u202f") for name, value in values.items() if name in _NUMBERS}
        first = unbroken(french).format(**told)
        return f"{first} {rest}" if rest else first
    return None


@cache
def _pattern(english: str) -> re.Pattern[str]:
    """The sentence with its names as groups (`n`, `m` and `k` are numbers, `all` is what is left), then perhaps more text."""
    parts, seen = [], set()
    for literal, name, _, _ in string.Formatter().parse(english):
        parts.append(re.escape(literal))
        if name:
            assert name not in seen, english
            seen.add(name)
            form = r"\d+(?:,\d{3})*" if name in _NUMBERS else ".+" if name == "all" else ".+?"
            parts.append(f"(?P<{name}>{form})")
    return re.compile("".join(parts) + r"(?: (?P<_after>.+))?", re.DOTALL)


def _filled(value: str, own: Mapping[str, str] | None) -> str:
    """What was filled in: words between names are put into French."""
    known = in_french(value, own)
    if known is not None:
        return known
    value = re.sub(r"(?<=[`)]) and (?=`)", " et ", value)
    return re.sub(
        r"\b(paths|texts|labels|splits|groups) from (?=`)", lambda m: f"{_WHAT_TABLES_HOLD[m[1]]} dans ", value
    )
