"""French for what is said of sounds."""

from __future__ import annotations

FRENCH: dict[str, str] = {
    "`{a}` holds no sound.": "`{a}` ne contient pas de son.",
    "`{a}` holds a video without sound.": "`{a}` contient une vidéo sans son.",
    "`{a}` is no sound that can be read: {b}.": "`{a}` n’est pas un son lisible : {b}.",
    "`{a}` lacks its index, which is written at the end: it was probably cut. Copy it or record it again.": (
        "`{a}` n’a pas son index, qui s’écrit à la fin : le fichier a sans doute été coupé. Copiez-le ou enregistrez-le de nouveau."
    ),
    "`{a}` holds text, whatever it is called. Was it saved from a page? Download it again, or leave it.": (
        "`{a}` contient du texte, malgré son nom. Vient-il d’une page ? Téléchargez-le de nouveau, ou laissez-le."
    ),
    "`{a}` could not be decoded: {b}.": "`{a}` n’a pas pu être décodé : {b}.",
    "`{a}` says that it has {b} samples a second. Save it again.": (
        "`{a}` annonce {b} échantillons par seconde. Enregistrez-le de nouveau."
    ),
    "`{a}` has more than {b} samples. Cut it into pieces.": "`{a}` a plus de {b} échantillons. Coupez-le en morceaux.",
    "`{a}` lasts {b} ms, and a sound {c} ms at least.": "`{a}` dure {b} ms, et un son au moins {c} ms.",
    "`{a}` is silent for all of its {b} s.": "`{a}` est silencieux pendant toutes ses {b} s.",
    "`{a}` is silent for most of its {b} s.": "`{a}` est silencieux pendant la majeure partie de ses {b} s.",
    "`{a}` ends after {b} s, and says that it lasts {c} s. It was probably cut.": (
        "`{a}` finit après {b} s, et annonce {c} s. Il a sans doute été coupé."
    ),
    "`{a}` is clipped: it was recorded too loud, and its peaks are flat.": (
        "`{a}` est saturé : l’enregistrement est trop fort, et ses crêtes sont plates."
    ),
    "`{a}` is longer than an hour; only the first hour is looked at.": (
        "`{a}` dure plus d’une heure ; seule la première est regardée."
    ),
    "Sounds have {a} different rates; all are stored at {b} samples a second.": (
        "Les sons ont {a} fréquences d’échantillonnage différentes ; tous sont stockés à {b} échantillons par seconde."
    ),
    "Longer sounds are heard in windows of {a} s, each of which learns the label of the whole. If a label is about a short moment "
    "of a long recording, cut the moment out first.": (
        "Les sons plus longs sont entendus par fenêtres de {a} s, chacune apprenant l’étiquette de l’ensemble. Si l’étiquette "
        "porte sur un court moment d’un long enregistrement, découpez d’abord ce moment."
    ),
    "Sounds of up to {a} s are made, from the beginnings of the sounds that there are. Longer ones take as much longer.": (
        "Des sons de {a} s au plus sont générés, d’après le début des sons disponibles. De plus longs prennent d’autant plus de "
        "temps."
    ),
    "What the network sees: log-mel spectrograms, cepstra of these, or the raw wave through filters that it learns.": (
        "Ce que voit le réseau : spectrogrammes log-mel, leurs cepstres, ou l’onde brute à travers des filtres qu’il apprend."
    ),
    "Samples a second at which sounds are stored; worked out from the data, at most 16000.": (
        "Échantillons par seconde auxquels les sons sont stockés ; déterminé d’après les données, 16000 au plus."
    ),
    "Seconds that are heard at a time; worked out from the data. Longer sounds are heard window after window.": (
        "Secondes entendues à la fois ; déterminé d’après les données. Les sons plus longs sont entendus fenêtre après fenêtre."
    ),
    "Sounds longer than {a} s: {n}. What comes later in them is not learned from, and not judged by.": (
        "Sons de plus de {a} s : {n}. La suite ne sert ni à apprendre ni à juger."
    ),
    "Seconds of a sound, from its beginning, that are learned from and judged by; answers are for all of it.": (
        "Secondes d’un son, depuis le début, dont on apprend et d’après lesquelles on juge ; les réponses valent pour le tout."
    ),
    "Random changes in training; auto leaves them out when only the head learns, so the rest runs once.": (
        "Variations aléatoires à l’entraînement ; auto s’en passe quand seule la tête apprend, pour calculer le reste une fois."
    ),
    "Sounds come earlier or later by up to this share of them, and by all of the silence about them.": (
        "Les sons viennent plus tôt ou plus tard, au plus de cette part, et de tout le silence autour."
    ),
    "Sounds are played faster or slower by up to this ratio, and are higher or lower with it.": (
        "Les sons sont joués plus vite ou plus lentement, au plus de ce rapport, et sont plus aigus ou plus graves d’autant."
    ),
    "Share of the sounds whose frequencies are moved, as by longer and shorter throats.": (
        "Part des sons dont les fréquences sont déplacées, comme par des gorges plus longues ou plus courtes."
    ),
    "Share of the sounds that noise is put under.": "Part des sons sous lesquels on met du bruit.",
    "Share of the spectrograms of which a run of bands and one of frames is hidden.": (
        "Part des spectrogrammes dont une suite de bandes et une suite de trames sont masquées."
    ),
    "Share of batches' rows blended with another row, its label too.": (
        "Part des éléments mélangés avec un autre, étiquette comprise."
    ),
    "Share of each target spread evenly; 1/137.": "Part de chaque cible répartie uniformément ; 1/137.",
    "Dropout before each layer of the head.": "Dropout avant chaque couche de la tête.",
    "balanced: rows of rare classes count more in the loss.": (
        "balanced : les éléments des classes rares comptent plus dans la perte."
    ),
    "Samples a second of what is learned from and made; worked out from the data, at most 16000.": (
        "Échantillons par seconde de ce dont on apprend et que l’on génère ; déterminé d’après les données, 16000 au plus."
    ),
    "Seconds of what is made at most, and of each sound that are learned from; worked out from the data.": (
        "Secondes au plus de ce que l’on génère, et de chaque son dont on apprend ; déterminé d’après les données."
    ),
    "Share of the rows that are learned from without their class, so that sounds of no class can be made too.": (
        "Part des éléments dont on apprend sans leur classe, pour pouvoir aussi générer des sons sans classe."
    ),
    "How far samples go towards their class; more than 1 makes them more typical and less varied.": (
        "Jusqu’où les échantillons vont vers leur classe ; plus de 1 les rend plus typiques et moins variés."
    ),
    "Steps from noise to a spectrogram.": "Étapes du bruit à un spectrogramme.",
    "Steps in which the phases of a spectrogram are found.": "Étapes pour retrouver les phases d’un spectrogramme.",
}
