# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. A language model: byte-pair encoding and an LSTM
#
# A language model reads a text and says, at each place, what comes next and how sure it is. That is all it learns, and it is
# enough to write. Here it learns from the documentation of Ouvroir, about 110,000 characters. That is very little: expect a
# model that knows how such pages look and many of their words, and means nothing. It takes about two minutes, needs no network,
# and writes into a temporary folder only.
#
# > **Un modèle de langue : encodage par paires d’octets et LSTM.** Un modèle de langue lit un texte et dit, à chaque endroit,
# > ce qui vient ensuite et avec quelle assurance. Il n’apprend rien d’autre, et cela suffit pour écrire. Ici, il apprend de la
# > documentation d’Ouvroir, environ 110 000 caractères. C’est très peu : attendez-vous à un modèle qui sait à quoi ressemblent
# > de telles pages et en connaît bien des mots, mais ne veut rien dire. Cela prend environ deux minutes, sans réseau, et
# > n’écrit que dans un dossier temporaire.

# %%
import os
import re
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sentencepiece import SentencePieceProcessor
from torch import nn
from torch.nn import functional

import ouvroir

work = Path(tempfile.mkdtemp(prefix="ouvroir-"))
# what is worked out once and kept; without this line, in ~/.cache/ouvroir
os.environ["OUVROIR_HOME"] = str(work / "home")
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## A corpus
#
# The guides, the concepts and the decisions, and the README in two languages, copied into one folder. Tables and what is typed
# in a terminal are left out. A folder of texts without labels is a corpus, so `check` chooses the task `text-generation` by
# itself. It would share out the pages by itself too; here folders named `train`, `validation` and `test` say it. Long files are
# cut into blocks of a few kilobytes.
#
# > **Un corpus.** Les guides, les concepts et les décisions, et le README en deux langues, copiés dans un dossier. Les tableaux
# > et ce qui se tape dans un terminal sont laissés de côté. Un dossier de textes sans étiquettes est un corpus ; `check`
# > choisit donc de lui-même la tâche `text-generation`. Il répartirait aussi les pages de lui-même ; ici, des dossiers nommés
# > `train`, `validation` et `test` le disent. Les longs fichiers sont coupés en blocs de quelques kilooctets.

# %%
repository = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "README.fr.md").is_file())
corpus = work / "corpus"
pages = [page for page in (repository / "docs").rglob("*.md") if page.parent.name not in ("benchmarks", "reference")]
for number, page in enumerate([*sorted(repository.glob("README*.md")), *sorted(pages)]):
    split = "train" if number < 2 else ("test", "validation", "train", "train", "train")[number % 5]
    prose = re.sub(r"^```.*?^```\n|^\|.*?\n", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (corpus / split).mkdir(parents=True, exist_ok=True)
    (corpus / split / "-".join(page.relative_to(repository).parts)).write_text(prose, encoding="utf-8")

manifest = ouvroir.check(corpus)
print(f"{manifest.task}: {len(list(corpus.rglob('*.md')))} files, {len(manifest.rows)} blocks")
for split in ("train", "validation", "test"):
    blocks = [manifest.rows[place] for place in manifest.positions(split)]
    print(f"{split:>10}: {len(blocks)} blocks, {sum(row.details['characters'] for row in blocks):,} characters")

# %% [markdown]
# ## Byte-pair encoding
#
# Letters are too small to learn from, as a word takes many steps, and words are too many. Between them are pieces. Byte-pair
# encoding finds them: begin with letters, join the two neighbours that occur together most often, and again, and again. What is
# frequent becomes one piece, what is rare stays in parts, and nothing is ever unknown. Here it is by hand, on the whole corpus:
#
# > **L’encodage par paires d’octets.** Les lettres sont trop petites pour apprendre, car un mot demande beaucoup de pas, et les
# > mots sont trop nombreux. Entre les deux, il y a les morceaux. L’encodage par paires les trouve : partir des lettres, joindre
# > les deux voisins qui se suivent le plus souvent, et recommencer. Ce qui est fréquent devient un seul morceau, ce qui est
# > rare reste en parties, et rien n’est jamais inconnu. Le voici à la main, sur tout le corpus :

# %%
text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(corpus.rglob("*.md")))


def join(word, pair):
    """The pieces of a word, with each occurrence of the pair made one."""
    joined = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


def learn(text, n_merges):
    """The pairs to join, in order."""
    words = Counter(tuple(word) for word in re.findall(r" ?\S+", text))  # a blank belongs to the word after it
    merges = []
    for _ in range(n_merges):
        pairs = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        merges.append(max(pairs, key=pairs.get))
        words = Counter({join(word, merges[-1]): count for word, count in words.items()})
    return merges


merges = learn(text, 300)
print("first joined:", ", ".join("".join(pair).replace(" ", "␣") for pair in merges[:24]))
print("last joined: ", ", ".join("".join(pair).replace(" ", "␣") for pair in merges[-12:]))

# %% [markdown]
# ## Train
#
# `train` learns such pieces from the train texts alone (with [SentencePiece](https://github.com/google/sentencepiece)), then
# teaches an LSTM: a network that reads piece after piece and carries a state along, in which it keeps what it needs of all it
# has read. At each piece it forgets some of the state, adds something, and says what comes next. (Of its pieces, 260 are single
# bytes and signs, with which it can spell anything.)
#
# > **Entraîner.** `train` apprend de tels morceaux sur les seuls textes d’entraînement (avec
# > [SentencePiece](https://github.com/google/sentencepiece)), puis entraîne un LSTM : un réseau qui lit morceau après morceau
# > et porte avec lui un état, où il garde ce dont il a besoin de tout ce qu’il a lu. À chaque morceau, il oublie une part de
# > l’état, y ajoute quelque chose et dit ce qui vient ensuite. (Parmi ses morceaux, 260 sont de simples octets et des signes,
# > avec lesquels il peut tout épeler.)

# %%
run = ouvroir.train(corpus, preset="tiny", settings={"options.network": "lstm", "loop.steps": 700}, runs=work / "runs")
print(run.status()["sentence"])

# %%
pieces = SentencePieceProcessor(model_file=str(run.bundle / "processor" / "tokenizer.model"))
sentences = ["The report says what was measured.", "Le rapport dit ce qui a été mesuré."]


def by_hand(sentence, merges):
    """The pieces of a sentence after these merges."""
    words = [tuple(word) for word in re.findall(r" ?\S+", sentence)]
    for pair in merges:
        words = [join(word, pair) for word in words]
    return [piece for word in words for piece in word]


def draw(axis, cuts):
    """A sentence cut in several ways, each in a line of boxes."""
    for line, (name, cut) in enumerate(cuts.items()):
        place = 0
        for number, piece in enumerate(cut):
            box = plt.Rectangle(
                (place + 0.06, -line - 0.4), len(piece) - 0.12, 0.8, color=("#cfe3f5", "#fbe0c4")[number % 2]
            )
            axis.add_patch(box)
            for letter in piece:
                axis.text(place + 0.5, -line, letter, ha="center", va="center", family="monospace", fontsize=10)
                place += 1
        axis.text(-0.5, -line, name, ha="right", va="center", fontsize=9)
        axis.text(place + 0.6, -line, f"{len(cut)} pieces", va="center", fontsize=9, color="grey")
    axis.set(xlim=(0, 40), ylim=(0.5 - len(cuts), 0.5))
    axis.axis("off")


figure, axes = plt.subplots(2, 1, figsize=(10, 4))
for axis, sentence in zip(axes, sentences, strict=True):
    cuts = {f"{n} merges": by_hand(sentence, merges[:n]) for n in (0, 50, 300)}
    cuts[f"Ouvroir's {pieces.get_piece_size()}"] = [
        piece.replace("▁", " ") for piece in pieces.encode(sentence, out_type=str)
    ]
    draw(axis, cuts)
plt.show()

# %% [markdown]
# ## Evaluate
#
# The measure is surprise: −log of the probability that the model gave to what really came, in nats, for each character, so that
# it does not matter how texts are cut. Beside it stands what counting can do: n-grams with the smoothing of Kneser and Ney,
# which remember what came after the last few pieces. On so few pages counting is strong, and usually better than a network.
# Networks win where there is far more to read.
#
# > **Évaluer.** La mesure est la surprise : −log de la probabilité que le modèle donnait à ce qui est vraiment venu, en nats
# > par caractère, pour que la façon de couper les textes n’y fasse rien. À côté figure ce que peut le simple comptage : des
# > n-grammes lissés à la manière de Kneser et Ney, qui retiennent ce qui a suivi les derniers morceaux. Avec si peu de pages,
# > compter est redoutable, et vaut souvent mieux qu’un réseau. Les réseaux gagnent quand il y a bien plus à lire.

# %%
systems = run.read_json("report.json")["systems"]
for system in systems:
    found, bits = system["metrics"]["nats_per_character"], system["metrics"]["bits_per_byte"]
    print(
        f"{system['name']:>22}: {found['value']:.3f} nats per character [{found['low']:.3f}, {found['high']:.3f}],"
        f" {bits['value']:.2f} bits per byte"
    )

measured = run.metrics()
figure, axis = plt.subplots(figsize=(8, 3.2))
for split, name in (("train", "language"), ("validation", "nats_per_character")):
    points = [(one.seconds, one.value) for one in measured if (one.split, one.name) == (split, name)]
    axis.plot(*zip(*points, strict=True), label=split, linewidth=1 if split == "train" else 2)
for system in systems:
    is_baseline = system["role"] == "baseline"
    label = f"test, {system['name'] if is_baseline else 'the LSTM when done'}"
    axis.axhline(
        system["metrics"]["nats_per_character"]["value"], color="black", ls="--" if is_baseline else ":", label=label
    )
axis.set(xlabel="seconds of training", ylabel="nats per character")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Write
#
# To write, draw a piece as the model thinks it likely, read it, and go on. The temperature says how boldly: at 0 always the
# most likely piece, which soon goes in circles; at 1 as the model thinks; above it more and more wildly. The same seed gives
# the same text.
#
# > **Écrire.** Pour écrire, on tire un morceau selon ce que le modèle juge probable, on le lit, et l’on continue. La
# > température dit avec quelle audace : à 0, toujours le morceau le plus probable, et l’on tourne bientôt en rond ; à 1, comme
# > le modèle le pense ; au-delà, de plus en plus follement. La même graine donne le même texte.

# %%
writer = ouvroir.load(run.path)
for temperature in (0.0, 0.6, 1.0, 1.5):
    how = ouvroir.Sampling(temperature=temperature, most=50)
    written = writer.write("The test pictures", how=how, seed=1)
    print(f"--- temperature {temperature}\nThe test pictures{written}\n")

# %% [markdown]
# `stream` gives the same, piece by piece, as it is written. Of all that it learned from, one page is French: enough for a few
# scraps.
#
# > `stream` donne la même chose, morceau par morceau, à mesure que cela s’écrit. De tout ce qui a servi à apprendre, une page
# > est en français : assez pour quelques bribes.

# %%
how = ouvroir.Sampling(temperature=0.6, top_p=0.95, most=60)
print("Les images de", end="")
for _, piece in writer.stream("Les images de", how=how, seed=3):
    print(piece, end="", flush=True)

# %% [markdown]
# ## The ten lines of plain PyTorch behind it
#
# Without Ouvroir, and without pieces: letters become numbers, an LSTM reads windows of 64 of them, and the loss is the surprise
# at each next letter. It learns from the same train pages and is tested on the same test pages, so the figures can be compared.
#
# > **Les dix lignes de PyTorch derrière tout cela.** Sans Ouvroir, et sans morceaux : les lettres deviennent des nombres, un
# > LSTM en lit des fenêtres de 64, et la perte est la surprise devant chaque lettre suivante. Il apprend des mêmes pages et
# > passe le test sur les mêmes : les mesures se comparent donc.

# %%
letters = sorted(set(text))


def numbers_of(split):
    """(N,) the letters of the pages of one split, one after the other."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in sorted((corpus / split).iterdir()))
    return torch.tensor([letters.index(letter) for letter in pages])


learned, kept = numbers_of("train"), numbers_of("test")


class Reader(nn.Module):
    """Scores of each letter to come next, and the state to go on from."""

    def __init__(self, n_letters, width=128):
        super().__init__()
        self.embed = nn.Embedding(n_letters, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.score = nn.Linear(width, n_letters)

    def forward(self, numbers, state=None):
        outputs, state = self.lstm(self.embed(numbers), state)  # (B, T, width)
        return self.score(outputs), state


torch.manual_seed(0)
reader = Reader(len(letters))
optimiser = torch.optim.AdamW(reader.parameters(), lr=4e-3)
for _ in range(400):
    start = torch.randint(len(learned) - 64, (32, 1))
    window = learned[start + torch.arange(65)]  # (B, T + 1)
    scores, _ = reader(window[:, :-1])
    surprise = functional.cross_entropy(scores.transpose(1, 2), window[:, 1:])
    optimiser.zero_grad()
    surprise.backward()
    optimiser.step()

with torch.no_grad():
    scores, _ = reader(kept[None, :-1])
    print(f"plain LSTM of letters: {functional.cross_entropy(scores[0], kept[1:]).item():.3f} nats per character")

    prompt = "The test pictures"
    written, state = list(prompt), None
    scores, state = reader(torch.tensor([[letters.index(letter) for letter in prompt]]))
    for _ in range(150):
        drawn = torch.multinomial((scores[0, -1] / 0.6).softmax(0), 1)
        written.append(letters[drawn.item()])
        scores, state = reader(drawn[None], state)
print("".join(written))

# %% [markdown]
# Next: a folder of texts of your own in place of `corpus`, and more minutes. The third notebook sets a Transformer beside the
# LSTM.
#
# > Ensuite : un dossier de vos propres textes à la place de `corpus`, et plus de minutes. Le troisième carnet place un
# > Transformer à côté du LSTM.
