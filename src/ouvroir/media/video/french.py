"""French for what is said of videos."""

from __future__ import annotations

FRENCH: dict[str, str] = {
    "Each video with its frames in another order": "Chaque vidéo, ses images dans un autre ordre",
    "One frame of each video, the middle one, for all of its time": (
        "Une seule image de chaque vidéo, celle du milieu, pour toute sa durée"
    ),
    "`{a}` holds no video.": "`{a}` ne contient pas de vidéo.",
    "`{a}` holds sound without a picture.": "`{a}` contient du son sans image.",
    "`{a}` has frames of {b} x {c} pixels. Make them smaller.": (
        "`{a}` a des images de {b} x {c} pixels. Réduisez-les."
    ),
    "`{a}` has {b} x {c} pixels. Make them smaller.": "`{a}` a {b} x {c} pixels. Réduisez-les.",
    "`{a}` is no video that can be read: {b}.": "`{a}` n’est pas une vidéo lisible : {b}.",
    "`{a}` lacks its index, which is written at the end: it was probably cut. Copy it or record it again.": (
        "`{a}` n’a pas son index, qui s’écrit à la fin : le fichier a sans doute été coupé. Copiez-le ou enregistrez-le de nouveau."
    ),
    "`{a}` holds text, whatever it is called. Was it saved from a page? Download it again, or leave it.": (
        "`{a}` contient du texte, malgré son nom. Vient-il d’une page ? Téléchargez-le de nouveau, ou laissez-le."
    ),
    "`{a}` could not be decoded: {b}.": "`{a}` n’a pas pu être décodée : {b}.",
    "Frames in `{a}`: {b}. A video has {c} at least.": "Images dans `{a}` : {b}. Une vidéo en a au moins {c}.",
    "`{a}` ends after {b} s, and says that it lasts {c} s. It was probably cut.": (
        "`{a}` finit après {b} s, et annonce {c} s. Elle a sans doute été coupée."
    ),
    "`{a}` shows the same picture all the time.": "`{a}` montre tout le temps la même image.",
    "`{a}` is longer than an hour; only the first hour is looked at.": (
        "`{a}` dure plus d’une heure ; seule la première est regardée."
    ),
    "Longer videos are seen in clips of {a} s, each of which learns the label of the whole. If a label is about a short moment of "
    "a long video, cut the moment out first.": (
        "Les vidéos plus longues sont vues par extraits de {a} s, chacun apprenant l’étiquette de l’ensemble. Si l’étiquette porte "
        "sur un court moment d’une longue vidéo, découpez d’abord ce moment."
    ),
    "Frames a second at which videos are stored; worked out from the data, at most 10.": (
        "Images par seconde auxquelles les vidéos sont stockées ; déterminé d’après les données, 10 au plus."
    ),
    "Frames that are seen at a time; worked out from the data. Longer videos are seen clip after clip.": (
        "Images vues à la fois ; déterminé d’après les données. Les vidéos plus longues sont vues extrait après extrait."
    ),
    "Edge of the squares that frames are stored as.": "Côté des carrés sous lesquels les images sont stockées.",
    "Videos longer than {a} s: {n}. What comes later in them is not learned from, and not judged by.": (
        "Vidéos de plus de {a} s : {n}. La suite ne sert ni à apprendre ni à juger."
    ),
    "Seconds of a video, from its beginning, that are learned from and judged by; answers are for all of it.": (
        "Secondes d’une vidéo, depuis le début, dont on apprend et d’après lesquelles on juge ; les réponses valent pour le tout."
    ),
    "Random changes in training; auto leaves them out when only the head learns, so the rest runs once.": (
        "Variations aléatoires à l’entraînement ; auto s’en passe quand seule la tête apprend, pour calculer le reste une fois."
    ),
    "Lay beside what is seen which way each place moves from frame to frame, worked out and not learned.": (
        "Ajouter à ce qui est vu le sens dans lequel chaque endroit bouge d’une image à l’autre, calculé et non appris."
    ),
    "Mirror half of the videos in training; not where a direction is what is learned.": (
        "Retourner la moitié des vidéos en miroir à l’entraînement ; pas là où une direction est ce qui s’apprend."
    ),
    "Pictures are moved by up to this share of their edge.": "Les images sont déplacées, au plus de cette part de leur côté.",
    "Pictures are made larger or smaller by up to this ratio.": "Les images sont agrandies ou réduites, au plus de ce rapport.",
    "Pictures are made brighter or darker, and of more or less contrast, by up to this share.": (
        "Les images sont éclaircies ou assombries, et plus ou moins contrastées, au plus de cette part."
    ),
    "Clips are played faster or slower, and begun earlier or later, by up to this ratio.": (
        "Les extraits sont joués plus vite ou plus lentement, et commencent plus tôt ou plus tard, au plus de ce rapport."
    ),
    "Share of each target spread evenly; 1/137.": "Part de chaque cible répartie uniformément ; 1/137.",
    "Dropout before each layer of the head.": "Dropout avant chaque couche de la tête.",
    "balanced: rows of rare classes count more in the loss.": (
        "balanced : les éléments des classes rares comptent plus dans la perte."
    ),
    "Clips of {a} s are made, from the beginnings of the videos that there are. Longer ones take as much longer.": (
        "Des extraits de {a} s sont générés, d’après le début des vidéos disponibles. De plus longs prennent d’autant plus de "
        "temps."
    ),
    "Edge of the clips that are learned from and made; twice the edge takes four times as long.": (
        "Côté des extraits dont on apprend et que l’on génère ; deux fois le côté prend quatre fois plus de temps."
    ),
    "Frames a second of what is learned from and made; worked out from the data, at most 10.": (
        "Images par seconde de ce dont on apprend et que l’on génère ; déterminé d’après les données, 10 au plus."
    ),
    "Frames of what is made, and of each video learned from; worked out from the data, at most 8.": (
        "Images de ce que l’on génère, et de chaque vidéo dont on apprend ; déterminé d’après les données, 8 au plus."
    ),
    "Share of the rows that are learned from without their class, so that clips of no class can be made too.": (
        "Part des éléments dont on apprend sans leur classe, pour pouvoir aussi générer des extraits sans classe."
    ),
    "How far samples go towards their class; more than 1 makes them more typical and less varied.": (
        "Jusqu’où les échantillons vont vers leur classe ; plus de 1 les rend plus typiques et moins variés."
    ),
    "Steps from noise to the latent of a clip.": "Étapes du bruit au code d’un extrait.",
    "Pictures are moved by up to this share of their edge, in learning; 0 where the place is what tells the classes apart.": (
        "Les images sont déplacées, au plus de cette part de leur côté, à l’apprentissage ; 0 là où c’est l’endroit qui distingue "
        "les classes."
    ),
}
