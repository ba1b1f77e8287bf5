"""French for what is said of texts."""

from __future__ import annotations

FRENCH: dict[str, str] = {
    "Vectors of pieces are as wide as the state divided by φ².": (
        "Les vecteurs des morceaux ont la largeur de l’état divisée par φ²."
    ),
    "Feed-forward layers are 5/3 · φ times as wide as the vectors between them.": (
        "Les couches feed-forward sont 5/3 · φ fois plus larges que les vecteurs qui les relient."
    ),
    "Temperature of attention: logits are q·k/π, with queries and keys as they are.": (
        "Température de l’attention : les logits valent q·k/π, requêtes et clés restant telles quelles."
    ),
    "`{a}` holds no text.": "`{a}` ne contient pas de texte.",
    "Save it as plain text (.txt), in UTF-8.": "Enregistrez-le comme texte brut (.txt), en UTF-8.",
    "Where it holds text, save that as plain text (.txt), in UTF-8.": (
        "S’il contient du texte, enregistrez celui-ci comme texte brut (.txt), en UTF-8."
    ),
    "The text is empty.": "Le texte est vide.",
    "Characters in the texts to learn from: {n}. That is too little: at least {m} are needed, and a language model needs "
    "thousands, better a million. Add texts.": (
        "Caractères dans les textes d’entraînement : {n}. C’est trop peu : il en faut au moins {m}, et un modèle de langage en "
        "veut des milliers, mieux un million. Ajoutez des textes."
    ),
    "All {n} characters are in train, and nothing is held out: what a model learns of them cannot be measured. Add texts, or put "
    "some into folders called `validation` and `test`.": (
        "Les {n} caractères sont tous dans l’entraînement, et rien n’est réservé : ce qu’un modèle en apprend ne peut pas être "
        "mesuré. Ajoutez des textes, ou mettez-en dans des dossiers nommés `validation` et `test`."
    ),
    "`{a}` has {b} characters, and one text may have at most {c}. Split it.": (
        "`{a}` a {b} caractères, et un texte peut en avoir au plus {c}. Découpez-le."
    ),
    "`{a}` has {b} characters, and one text may have at most {c}. Save it as UTF-8: it is then cut into blocks by itself.": (
        "`{a}` a {b} caractères, et un texte peut en avoir au plus {c}. Enregistrez-le en UTF-8 : il est alors coupé en blocs de "
        "lui-même."
    ),
    "`{a}` holds bytes that are no text in an encoding that is read here.": (
        "`{a}` contient des octets qui ne sont un texte dans aucun des encodages lus ici."
    ),
    "Of longer texts the first and last pieces are read, {n} in all. If what tells the classes apart stands in the middle, read "
    "more.": (
        "Des textes plus longs, on lit les premiers et les derniers morceaux, {n} en tout. Si ce qui distingue les classes est au "
        "milieu, lisez-en davantage."
    ),
    "With {n} texts to learn from, n-grams alone often do as well as the order of the words beside them, and train in seconds.": (
        "Avec {n} textes d’entraînement, les n-grammes seuls font souvent aussi bien que l’ordre des mots en plus, et s’entraînent "
        "en quelques secondes."
    ),
    "blocks: convolution and attention over pieces of words; ngrams: the mean of vectors of n-grams, far faster.": (
        "blocks : convolution et attention sur des morceaux de mots ; ngrams : moyenne de vecteurs de n-grammes, bien plus rapide."
    ),
    "Pieces of words that are learned; worked out from the texts.": "Morceaux de mots appris ; déterminé d’après les textes.",
    "Pieces that are kept of a text, its beginning and its end; worked out from the texts.": (
        "Morceaux gardés d’un texte, son début et sa fin ; déterminé d’après les textes."
    ),
    "Random changes in training; auto leaves them out when only the head learns, so the rest runs once.": (
        "Variations aléatoires à l’entraînement ; auto s’en passe quand seule la tête apprend, pour calculer le reste une fois."
    ),
    "Share of the pieces that are hidden, others each time.": "Part des morceaux masqués, d’autres à chaque fois.",
    "Share of each target spread evenly; 1/137.": "Part de chaque cible répartie uniformément ; 1/137.",
    "Dropout before each layer of the head.": "Dropout avant chaque couche de la tête.",
    "lstm: a state that goes on for ever; transformer: attention to the pieces before, as far as the context reaches.": (
        "lstm : un état qui se poursuit sans fin ; transformer : attention aux morceaux précédents, aussi loin que va le contexte."
    ),
    "bpe: pieces of words, learned; characters: one by one; bytes: of UTF-8.": (
        "bpe : des morceaux de mots, appris ; characters : un par un ; bytes : ceux de l’UTF-8."
    ),
    "Size of the vocabulary: pieces of words or characters, with all single bytes; worked out from the texts.": (
        "Taille du vocabulaire : morceaux de mots ou caractères, avec tous les octets isolés ; déterminée d’après les textes."
    ),
    "Pieces that are read at a time, each predicted from those before it; worked out from the texts.": (
        "Morceaux lus à la fois, chacun prédit d’après les précédents ; déterminé d’après les textes."
    ),
    "Pieces of the longest text that is made; worked out from the texts.": (
        "Morceaux du texte le plus long que l’on génère ; déterminé d’après les textes."
    ),
    "Share of the weights from state to state of an LSTM that is left out at each step.": (
        "Part des poids d’un état au suivant d’un LSTM laissée de côté à chaque pas."
    ),
    "Share of the texts that are learned from without their class, so that texts of no class can be made too.": (
        "Part des textes dont on apprend sans leur classe, pour pouvoir aussi générer des textes sans classe."
    ),
    "Dropout between the layers, the same at each piece of a text; a corpus without classes gets 0.1.": (
        "Dropout entre les couches, le même à chaque morceau d’un texte ; 0,1 pour un corpus sans classes."
    ),
    "Below 1 the likely pieces are drawn more often than they occur.": (
        "En dessous de 1, les morceaux probables sont tirés plus souvent qu’ils ne se présentent."
    ),
    "Each piece is drawn from the most likely ones that together have this probability.": (
        "Chaque morceau est tiré parmi les plus probables, qui ont ensemble cette probabilité."
    ),
    "balanced: rows of rare classes count more in the loss.": (
        "balanced : les éléments des classes rares comptent plus dans la perte."
    ),
}
