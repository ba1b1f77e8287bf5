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
# # 3. A Transformer, beside the LSTM and counting
#
# An LSTM carries all it has read in one state. A Transformer carries nothing: at each piece it looks back at the pieces before
# and takes what it needs. Which is better depends on how much there is to read and how long one may train, so we give both as
# many minutes on the same pages, and set n-grams beside them, which only count. It takes about two minutes, needs no network,
# and writes into a temporary folder only. What pieces are and what surprise is stands in the second notebook.
#
# > **Un Transformer, à côté du LSTM et du comptage.** Un LSTM porte tout ce qu’il a lu dans un seul état. Un Transformer ne
# > porte rien : à chaque morceau, il regarde en arrière et prend ce dont il a besoin. Lequel vaut mieux dépend de ce qu’il y a
# > à lire et du temps d’entraînement ; nous leur donnons donc autant de minutes à chacun, sur les mêmes pages, et plaçons à
# > côté des n-grammes, qui ne font que compter. Cela prend environ deux minutes, sans réseau, et n’écrit que dans un dossier
# > temporaire. Ce que sont les morceaux et la surprise est dit dans le deuxième carnet.

# %%
import os
import re
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional

import ouvroir

work = Path(tempfile.mkdtemp(prefix="ouvroir-"))
# what is worked out once and kept; without this line, in ~/.cache/ouvroir
os.environ["OUVROIR_HOME"] = str(work / "home")
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## The same corpus
#
# The documentation of Ouvroir without tables and without what is typed in a terminal, as in the second notebook.
#
# > **Le même corpus.** La documentation d’Ouvroir, sans les tableaux ni ce qui se tape dans un terminal, comme dans le deuxième
# > carnet.

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

# %% [markdown]
# ## Train both, half of the minutes each
#
# On a corpus, `refine` trains an LSTM and a Transformer side by side, keeps the one that is better on the validation pages,
# and judges all on the test pages. The speed is measured first and the minutes become a number of steps, so the times agree
# only about where a machine does other things too. Its report, `report.html` in the run, shows all that follows and more.
#
# > **Entraîner les deux, la moitié des minutes pour chacun.** Sur un corpus, `refine` entraîne un LSTM et un Transformer côte
# > à côte, garde celui qui est le meilleur sur les pages de validation, et les juge tous sur les pages de test. La vitesse est
# > mesurée d’abord, et les minutes deviennent un nombre de pas : les durées ne concordent donc qu’à peu près si la machine
# > fait autre chose. Son rapport, `report.html` dans l’exécution, montre tout ce qui suit et davantage.

# %%
run = ouvroir.refine(corpus, preset="tiny", minutes=1.4, runs=work / "runs")
print(run.status()["sentence"])
for model in run.models:
    taken = max(one.seconds for one in model.metrics())
    print(f"{model.name:>12}: {model.steps_taken} steps in {taken:.0f} s")

# %% [markdown]
# ## Compare
#
# Below is the surprise at each character of the test pages, with 95 % intervals, and then each two of the three on the same
# pages, which says more: a page that is hard for one is hard for the other. On a hundred thousand characters and within a
# minute, expect counting to win and the Transformer to come last: it takes the most work for each step. With far more to read
# and more time the order usually turns round (for Transformers and LSTMs: [Kaplan et al.
# 2020](https://arxiv.org/abs/2001.08361), figure 7).
#
# > **Comparer.** Ci-dessous, la surprise devant chaque caractère des pages de test, avec des intervalles à 95 %, puis chaque
# > paire des trois sur les mêmes pages, ce qui en dit plus : une page difficile pour l’un l’est pour l’autre. Avec cent mille
# > caractères et en une minute, attendez-vous à ce que le comptage gagne et que le Transformer vienne en dernier : c’est lui
# > qui demande le plus de travail par pas. Avec beaucoup plus de texte et de temps, l’ordre se renverse d’ordinaire (pour les
# > Transformers et les LSTM : [Kaplan et al. 2020](https://arxiv.org/abs/2001.08361), figure 7).

# %%
report = run.read_json("report.json")
for system in report["systems"]:
    found = system["metrics"]["nats_per_character"]
    print(f"{system['name']:>22}: {found['value']:.3f} nats per character [{found['low']:.3f}, {found['high']:.3f}]")
print()
for pair in report["pairs"]:
    difference = pair["difference"]
    print(
        f"{pair['second']} instead of {pair['first']}: {difference['value']:+.3f} nats per character"
        f" [{difference['low']:+.3f}, {difference['high']:+.3f}], which is {pair['verdict']}"
    )

# %%
colours = {"lstm": "tab:orange", "transformer": "tab:purple"}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(3, 2))
for model in run.models:
    for split, name, width in (("train", "language", 0.7), ("validation", "nats_per_character", 2)):
        points = [(one.seconds, one.value) for one in model.metrics() if (one.split, one.name) == (split, name)]
        left.plot(
            *zip(*points, strict=True), color=colours[model.name], linewidth=width, label=f"{model.name}, {split}"
        )
left.set(xlabel="seconds of training", ylabel="nats per character")
left.legend(frameon=False)

for place, system in enumerate(reversed(report["systems"])):
    found = system["metrics"]["nats_per_character"]
    reach = [[found["value"] - found["low"]], [found["high"] - found["value"]]]
    colour = colours.get(system["name"], "black")
    right.errorbar(found["value"], place, xerr=reach, fmt="o", capsize=4, color=colour)
names = [system["name"] for system in reversed(report["systems"])]
right.set(
    xlabel="nats per character of the test pages",
    yticks=range(len(names)),
    yticklabels=names,
    ylim=(-0.5, len(names) - 0.5),
)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## How the writing grew
#
# The report keeps what each model wrote on the way, from the same random beginning each time.
#
# > **Comment l’écriture est venue.** Le rapport garde ce que chaque modèle écrivait en chemin, chaque fois depuis le même
# > hasard.

# %%
for grown in report["writing"]:
    moments = [moment for moment in grown["moments"] if moment["temperature"] == 0.8]
    for moment in (moments[0], moments[-1]):
        words = "".join(letter for letter in " ".join(moment["text"].split()) if letter.isprintable())
        print(f"{grown['system']}, step {moment['step']}: {words[:150]}\n")

# %%
for model in run.models:
    how = ouvroir.Sampling(temperature=0.6, top_p=0.95, most=60)
    written = ouvroir.load(model.path).write("The test pictures", how=how, seed=1)
    print(f"--- {model.name}\nThe test pictures{written}\n")

# %% [markdown]
# ## The ten lines of plain PyTorch behind it
#
# Here is one block. Each letter asks a question (its query), and each letter before it, and itself, has a key that fits the
# question more or less; it takes the mean of their values, those counting more that fit. What comes later is hidden by a mask.
# Several heads ask several questions at once. Then each letter thinks for itself. It learns from the same train pages as the
# two above, letter by letter, and is tested on the same test pages, so the figures can be compared; it is smaller, and takes
# more steps in its time.
#
# > **Les dix lignes de PyTorch derrière tout cela.** Voici un bloc. Chaque lettre pose une question (*query*), et chaque lettre
# > qui la précède, ainsi qu’elle-même, a une clé (*key*) qui y répond plus ou moins bien ; elle prend la moyenne de leurs
# > valeurs (*values*), où comptent davantage celles qui répondent le mieux. Ce qui vient après est caché par un masque.
# > Plusieurs têtes posent plusieurs questions à la fois. Ensuite, chaque lettre réfléchit pour elle-même. Il apprend des mêmes
# > pages que les deux modèles d’avant, lettre par lettre, et passe le même test : les mesures se comparent. Il est plus petit,
# > et fait plus de pas dans le même temps.


# %%
class Block(nn.Module):
    """(B, T, D) letters that have looked back, and (B, H, T, T) how much each one looked at each one."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.ask, self.gather = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        B, T, D = x.shape
        asked = self.ask(self.norm(x)).view(B, T, 3, self.n_heads, -1)
        queries, keys, values = asked.permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        is_later = torch.ones(T, T, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(is_later, float("-inf")).softmax(-1)
        x = x + self.gather((weights @ values).transpose(1, 2).reshape(B, T, D))
        return x + self.think(x), weights


class Transformer(nn.Module):
    """Two blocks over letters and their places; scores of each letter to come next."""

    def __init__(self, n_letters, width=96, n_heads=4, longest=64):
        super().__init__()
        self.letter, self.place = nn.Embedding(n_letters, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(2))
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_letters))

    def forward(self, numbers):
        x, looks = self.letter(numbers) + self.place.weight[: numbers.shape[1]], []
        for block in self.blocks:
            x, weights = block(x)
            looks.append(weights)
        return self.score(x), looks


text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(corpus.rglob("*.md")))
letters = sorted(set(text))


def numbers_of(split):
    """(N,) the letters of the pages of one split, one after the other."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in sorted((corpus / split).iterdir()))
    return torch.tensor([letters.index(letter) for letter in pages])


learned, kept = numbers_of("train"), numbers_of("test")
torch.manual_seed(0)
model = Transformer(len(letters))
optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(400):
    start = torch.randint(len(learned) - 64, (32, 1))
    window = learned[start + torch.arange(65)]  # (B, T + 1)
    scores, _ = model(window[:, :-1])
    surprise = functional.cross_entropy(scores.transpose(1, 2), window[:, 1:])
    optimiser.zero_grad()
    surprise.backward()
    optimiser.step()

with torch.no_grad():
    windows = kept[: len(kept) // 65 * 65].view(-1, 65)  # each begins anew, with nothing before it
    scores, _ = model(windows[:, :-1])
    surprise = functional.cross_entropy(scores.transpose(1, 2), windows[:, 1:])
print(f"plain Transformer of letters: {surprise.item():.3f} nats per character")

# %% [markdown]
# Is the mask right? If the last letters of a sentence change, nothing may change at the places before them. And where do the
# heads look? Each line is a letter, each column a letter that it looks at; above the diagonal, in what is still to come, all is
# dark.
#
# > Le masque est-il juste ? Si les dernières lettres d’une phrase changent, rien ne doit changer aux places d’avant. Et où les
# > têtes regardent-elles ? Chaque ligne est une lettre, chaque colonne une lettre qu’elle regarde ; au-dessus de la diagonale,
# > dans ce qui est encore à venir, tout est sombre.

# %%
sentence = "the test and the model"
encoded = torch.tensor([[letters.index(letter) for letter in sentence]])
changed = encoded.clone()
changed[0, -5:] = letters.index("x")
with torch.no_grad():
    scores, looks = model(encoded)
    others, _ = model(changed)
print("nothing before the change has changed:", torch.allclose(scores[0, :-5], others[0, :-5], atol=1e-5))

figure, axes = plt.subplots(2, 4, figsize=(12, 6.4))
for axis, (layer, head) in zip(axes.flat, [(layer, head) for layer in range(2) for head in range(4)], strict=True):
    axis.imshow(looks[layer][0, head], cmap="magma", vmin=0, vmax=1)
    marks = [letter.replace(" ", "␣") for letter in sentence]
    axis.set_xticks(range(len(sentence)), marks, fontsize=7, family="monospace")
    axis.set_yticks(range(len(sentence)), marks, fontsize=7, family="monospace")
    axis.tick_params(length=0, pad=1)
    axis.set_title(f"block {layer + 1}, head {head + 1}", fontsize=9)
figure.tight_layout()
plt.show()

# %% [markdown]
# Next: a folder of texts of your own in place of `corpus`, `preset="small"` and more minutes; the report says whether the
# Transformer has overtaken.
#
# > Ensuite : un dossier de vos propres textes à la place de `corpus`, `preset="small"` et plus de minutes ; le rapport dira si
# > le Transformer est passé devant.
