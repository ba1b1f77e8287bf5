"""What the tasks on pictures say, in French; the form is that of `ouvroir.evaluation.french`."""

FRENCH: dict[str, str] = {
    "Channels fall by this ratio from one size of the picture to the next.": (
        "Le nombre de canaux décroît selon ce rapport d’une taille de l’image à la suivante."
    ),
    # notes on the recipe
    "These look like characters or digits, so they are not mirrored; small turns and shifts only.": (
        "Cela ressemble à des caractères ou à des chiffres : pas de miroir, seulement de petites rotations et de petits "
        "décalages."
    ),
    "These show things on a plain background: mirrored left to right, turned and shifted a little.": (
        "Ce sont des objets sur fond uni : images retournées horizontalement, légèrement tournées et décalées."
    ),
    "These look like photographs: mirrored left to right, turned, cropped and recoloured in training.": (
        "Cela ressemble à des photographies : retournées horizontalement, tournées, recadrées et aux couleurs modifiées "
        "à l’entraînement."
    ),
    "If a mirrored picture would be another class, switch it off.": (
        "Si une image retournée horizontalement change de classe, désactivez le miroir."
    ),
    "Class names speak of left and right, so pictures are not mirrored.": (
        "Des noms de classes parlent de gauche et de droite : les images ne sont pas retournées horizontalement."
    ),
    "Values deeper than 8 bits ({a}): {b} is stored as black and {c} as white, in all pictures.": (
        "Valeurs sur plus de 8 bits : {b} devient noir et {c} devient blanc, dans toutes les images."
    ),
    "{a} photographs are few to learn from nothing. Pretrained weights are usually what helps most with so few, from a hub "
    "or, without a network, from a folder (docs/guides/fine-tune.md).": (
        "{a} photographies, c’est peu pour apprendre à partir de rien. Des poids préentraînés, venus d’un hub ou, sans réseau, "
        "d’un dossier, sont d’ordinaire ce qui aide le plus (docs/guides/fine-tune.md)."
    ),
    "Pictures of {a} px are made, and enlarged where larger ones are needed; {b} px are the most and take four times as long.": (
        "Les images produites ont {a} px, et sont agrandies là où il en faut de plus grandes ; {b} px au plus, pour quatre fois "
        "plus de temps."
    ),
    # notes on files
    "`{a}` is a {b} picture under the extension .{c}; it is used as what it is.": (
        "`{a}` est une image {b} sous l’extension .{c} ; elle est lue selon son vrai format."
    ),
    "`{a}` holds several frames or pages; the first is used.": (
        "`{a}` contient plusieurs vues ou pages ; seule la première est utilisée."
    ),
    "`{a}`: its orientation (EXIF) cannot be read ({b}); taken as it lies.": (
        "`{a}` : son orientation (EXIF) est illisible ; l’image est prise telle quelle."
    ),
    "`{a}` has {n} values that are not numbers; they count as the least value.": (
        "`{a}` a {n} valeurs qui ne sont pas des nombres ; elles comptent comme la plus petite valeur."
    ),
    "`{a}`: the decoder says: {b}.": "`{a}` : le décodeur signale une particularité ; `ouvroir check` la cite.",
    "`{a}` is one flat colour; there is nothing in it to learn from.": (
        "`{a}` est d’une seule couleur ; il n’y a rien à y apprendre."
    ),
    "`{a}` is in colour with 16 bits, of which only the upper 8 are read, and these reach no further than {n} of 255: it is "
    "nearly black here. Save it with 8 bits a channel.": (
        "`{a}` est en couleur sur 16 bits, dont seuls les 8 bits de poids fort sont lus, et ceux-ci ne dépassent pas {n} sur "
        "255 : elle est ici presque noire. Enregistrez-la avec 8 bits par canal."
    ),
    "`{a}` is very narrow ({b}x{c}).": "`{a}` est très étroite ({b} × {c}).",
    # refusals
    "An array of {a} and shape {b} is not a picture; give uint8, (H, W) or (H, W, 3).": (
        "Un tableau de {a} et de forme {b} n’est pas une image ; donnez uint8, (H, W) ou (H, W, 3)."
    ),
    "`{a}` unfolds to more pixels than is safe: {b}.": (
        "`{a}` donne, une fois décodée, plus de pixels que la limite de sécurité."
    ),
    "`{a}` needs more memory than the limit to decode.": "`{a}` demande, pour être décodé, plus de mémoire que la limite.",
    "`{a}` is {b}x{c}, {n} pixels; the limit is {m}.": "`{a}` mesure {b} × {c}, soit {n} pixels ; la limite est {m}.",
    "`{a}` is {b}x{c} pixels; its longer side needs {n}.": "`{a}` mesure {b} × {c} pixels ; son grand côté doit en avoir {n}.",
    "`{a}` is not a picture in a format that is read here.": "`{a}` n’est pas une image d’un format lu ici.",
    "`{a}` is a HEIC picture, which is not read here. Convert it to JPEG or PNG.": (
        "`{a}` est une image HEIC, format qui n’est pas lu ici. Convertissez-la en JPEG ou en PNG."
    ),
    "`{a}` begins like a {b} picture, but its header is damaged or not of a known kind.": (
        "`{a}` commence comme une image {b}, mais son en-tête est endommagé ou inconnu."
    ),
    "`{a}` cannot be decoded: {b}.": "`{a}` ne peut pas être décodée.",
    "`{a}` ends before the picture does ({b}). Copy it again from where it came.": (
        "`{a}` s’arrête avant la fin de l’image. Copiez-la de nouveau depuis son origine."
    ),
    "Convert it to JPEG: most phones and viewers export pictures so.": (
        "Convertissez-le en JPEG : la plupart des téléphones et des visionneuses savent le faire."
    ),
    "Develop this raw file to JPEG or PNG.": "Développez ce fichier brut en JPEG ou en PNG.",
    "Export it as PNG.": "Exportez-le en PNG.",
    # settings
    "compact: our residual network, from nothing; resnet50: ResNet of transformers, usually pretrained.": (
        "compact : notre réseau résiduel, à partir de rien ; resnet50 : le ResNet de transformers, d’ordinaire préentraîné."
    ),
    "Edge at which pictures are stored and judged; worked out from the data.": (
        "Côté des images enregistrées et évaluées ; déduit des données."
    ),
    "Edge at which pictures are trained on, at most storage_px; worked out.": (
        "Côté des images à l’entraînement, au plus storage_px ; calculé."
    ),
    "How a picture becomes square: stretch it (which `export --to hf` needs), pad it with its border colour, or crop "
    "its middle.": (
        "Comment une image devient carrée : étirée (ce que demande `export --to hf`), complétée par la couleur de son bord, ou "
        "recadrée en son milieu."
    ),
    "Channels that are stored; auto is grey when all pictures are.": (
        "Canaux enregistrés ; auto : en gris quand toutes les images le sont."
    ),
    "Random changes in training; auto leaves them out when only the head learns, so the rest runs once.": (
        "Variations aléatoires à l’entraînement ; auto s’en passe quand seule la tête est entraînée, le reste étant calculé une "
        "seule fois."
    ),
    "Mirroring in training; not where a mirrored picture would be another class.": (
        "Miroir à l’entraînement ; à éviter si une image retournée change de classe."
    ),
    "Rotation by up to so many degrees either way.": "Rotation d’au plus tant de degrés dans un sens ou dans l’autre.",
    "Edge of the pictures that are learned from and made; worked out from the data, at most 64.": (
        "Côté des images apprises et produites ; déterminé d’après les données, au plus 64."
    ),
    "How a picture becomes square.": "Comment une image devient carrée.",
    "Channels that are made; auto is grey when all pictures are.": (
        "Canaux produits ; auto : gris quand toutes les images le sont."
    ),
    "Mirroring in training.": "Miroir pendant l’entraînement.",
    "Share of the rows that are learned from without their class, so that pictures of no class can be made too.": (
        "Part des lignes apprises sans leur classe, pour pouvoir aussi produire des images d’aucune classe."
    ),
    "How far samples go towards their class; more than 1 makes them more typical and less varied.": (
        "À quel point les images produites vont vers leur classe ; plus de 1 les rend plus typiques et moins variées."
    ),
    "Share of the steps after which the class counts in full, from a third of it on a little; 0 is from the start.": (
        "Part des pas après laquelle la classe compte entièrement, un peu dès le tiers de cette part ; 0 : dès le début."
    ),
    "Steps from noise to a picture.": "Pas du bruit à une image.",
    "Zoom in or out by up to this ratio.": "Agrandissement ou réduction, au plus de ce rapport.",
    "Shift by up to this share of the edge.": "Décalage d’au plus cette part du côté.",
    "Random crop of at least this share of the area; 1 is whole.": (
        "Recadrage aléatoire d’au moins cette part de la surface ; 1 : image entière."
    ),
    "Change of aspect ratio by up to this ratio.": "Changement des proportions, au plus de ce rapport.",
    "Brightness changed by up to this share.": "Luminosité modifiée d’au plus cette part.",
    "Contrast changed by up to this share.": "Contraste modifié d’au plus cette part.",
    "Saturation changed by up to this share.": "Saturation modifiée d’au plus cette part.",
    "Share of pictures of which a random rectangle is painted over.": (
        "Part des images dont un rectangle tiré au hasard est recouvert."
    ),
    "Share of batches' rows blended with another row, its label too.": (
        "Part des éléments d’un lot mélangés à un autre, étiquette comprise."
    ),
    "Share of batches' rows that get a rectangle of another row, and a share of its label.": (
        "Part des éléments d’un lot qui reçoivent un rectangle d’un autre, et une part de son étiquette."
    ),
    "Share of each target spread evenly; 1/137.": "Part de chaque cible répartie également ; 1/137.",
    "phi: hidden layers whose widths fall by φ; linear: one layer, which `export --to hf` needs.": (
        "phi : couches cachées dont la largeur décroît selon φ ; linear : une seule couche, qu’exige `export --to hf`."
    ),
    "Dropout before each layer of the head.": "Dropout avant chaque couche de la tête.",
    "balanced: rows of rare classes count more in the loss.": (
        "balanced : les éléments des classes rares comptent davantage dans la perte."
    ),
}
