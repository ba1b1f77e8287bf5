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
# # 1. Handwritten digits
#
# From files to a model that tells the ten digits apart, and to an honest figure of how well. It takes about a minute, needs no
# network, and writes into a temporary folder only.
#
# > **Des chiffres manuscrits.** Des fichiers à un modèle qui distingue les dix chiffres, et à une mesure sincère de ce qu’il
# > vaut. Cela prend environ une minute, sans réseau, et n’écrit que dans un dossier temporaire.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import ouvroir

work = Path(tempfile.mkdtemp(prefix="ouvroir-"))
# what is worked out once and kept; without this line, in ~/.cache/ouvroir
os.environ["OUVROIR_HOME"] = str(work / "home")
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Prepare
#
# `sample` writes 1,797 small pictures into ten folders, one for each digit. The name of the folder is the label: your own
# pictures would lie just so. `check` looks at each file, says what it found, and shares the pictures out: most are for
# learning, some for choosing (validation), and some are kept for the end (test).
#
# > **Préparer.** `sample` écrit 1 797 petites images dans dix dossiers, un par chiffre. Le nom du dossier est l’étiquette : vos
# > propres images seraient rangées de même. `check` examine chaque fichier, dit ce qu’il a trouvé et répartit les images : la
# > plupart servent à apprendre, quelques-unes à choisir (validation), et d’autres sont gardées pour la fin (test).

# %%
digits = work / "digits"
ouvroir.sample("image-classification", digits)
manifest = ouvroir.check(digits)

print(f"{manifest.found:,} found = {len(manifest.rows):,} admitted + {len(manifest.refused)} refused")
for split, counts in manifest.counts().items():
    print(
        f"{split:>10}: {sum(counts.values()):5,} pictures,", ", ".join(f"{n} × {label}" for label, n in counts.items())
    )


# %%
def show(pictures, titles, columns=10, colours=None):
    """Pictures in rows of so many, each under its title."""
    n_lines = -(-len(pictures) // columns)
    size = (columns * 0.95, n_lines * 1.35)
    _, axes = plt.subplots(n_lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for place, (axis, picture, title) in enumerate(zip(axes.flat, pictures, titles, strict=False)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=9, color=colours[place] if colours else "black")
    plt.show()


by_digit = {
    label: [row for row in manifest.rows if (row.split, row.label) == ("train", label)] for label in manifest.labels
}
some = [rows[number] for number in range(2) for rows in by_digit.values()]
show([Image.open(digits / row.locator) for row in some], [row.label for row in some])

# %% [markdown]
# ## Build and train
#
# A network of convolutions looks at small patches, then at patches of patches, and says ten numbers: how much the picture looks
# like each digit. Training shows it 32 pictures at a time, and moves all its weights a little so that the right number grows.
# We do this 300 times. `progress=ouvroir.SHOWN` would print how far it is.
#
# > **Construire et entraîner.** Un réseau de convolutions regarde de petits morceaux de l’image, puis des morceaux de morceaux,
# > et donne dix nombres : à quel point l’image ressemble à chaque chiffre. L’entraînement lui montre 32 images à la fois et
# > déplace un peu tous ses poids pour que le bon nombre grandisse. Nous le faisons 300 fois. `progress=ouvroir.SHOWN` dirait où
# > il en est.

# %%
run = ouvroir.train(digits, settings={"loop.steps": 300}, runs=work / "runs")
print(run.status()["sentence"])
print(sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")))

# %% [markdown]
# The run is a folder of plain files. `metrics()` reads one of them: what was measured on the way. The surprise at a digit is
# −log of the probability that the model gave it, in nats: 0 where it was sure and right, 2.3 where all ten were alike to it.
#
# > Une exécution est un dossier de fichiers ordinaires. `metrics()` en lit un : ce qui a été mesuré en chemin. La surprise
# > devant un chiffre est −log de la probabilité que le modèle lui donnait, en nats : 0 s’il en était sûr à raison, 2,3 si les
# > dix se valaient pour lui.

# %%
measured = run.metrics()
loss = [(one.step, one.value) for one in measured if (one.split, one.name) == ("train", "class")]
accuracy = [(one.step, 100 * one.value) for one in measured if (one.split, one.name) == ("validation", "accuracy")]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
left.plot(*zip(*loss, strict=True), linewidth=1)
left.set(title="train: surprise at the right digit", xlabel="step", ylabel="nats", ylim=(0, None))
right.plot(*zip(*accuracy, strict=True), marker="o", markersize=3, color="tab:green")
right.set(title="validation: right answers", xlabel="step", ylabel="%", ylim=(0, 102))
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Evaluate
#
# The test pictures were never used until now. One number says little without two others: what something cheap would do (always
# the most frequent digit; the label of the nearest picture), and how far chance could have moved it (the 95 % interval). Where
# intervals overlap much, the pictures cannot tell which one is better.
#
# > **Évaluer.** Les images de test n’ont pas servi jusqu’ici. Un nombre seul dit peu sans deux autres : ce que ferait une
# > méthode à bas coût (toujours le chiffre le plus fréquent ; l’étiquette de l’image la plus proche), et l’écart que le hasard
# > peut produire (l’intervalle à 95 %). Quand les intervalles se recouvrent beaucoup, ces images ne disent pas qui est le
# > meilleur.

# %%
systems = run.read_json("report.json")["systems"]
figure, axis = plt.subplots(figsize=(8, 2.4))
for place, system in enumerate(reversed(systems)):
    found = system["metrics"]["accuracy"]
    value, low, high = (100 * found[end] for end in ("value", "low", "high"))
    colour = "tab:blue" if system["role"] == "baseline" else "tab:red"
    axis.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", capsize=4, color=colour)
    print(f"{system['name']:>40}: {value:5.1f} % [{low:.1f}, {high:.1f}] of {found['n']}")
axis.set(
    yticks=range(len(systems)), yticklabels=[one["name"] for one in reversed(systems)], ylim=(-0.6, len(systems) - 0.4)
)
axis.set(xlabel="right answers on test pictures, %, with 95 % intervals", xlim=(0, 102))
plt.show()

# %% [markdown]
# ## Look at the answers
#
# `load` opens the model, `predict` answers: a label, and a score between 0 and 1 for each digit. Here are the test pictures
# that it was least sure of. Above each stands what it said, how sure it was, and in red the truth where it was wrong.
#
# > **Regarder les réponses.** `load` ouvre le modèle, `predict` répond : une étiquette, et une note entre 0 et 1 pour chaque
# > chiffre. Voici les images de test dont il était le moins sûr. Au-dessus de chacune figurent sa réponse, son assurance et, en
# > rouge, la vérité quand il s’est trompé.

# %%
predictor = ouvroir.load(run.path)
test = [row for row in manifest.rows if row.split == "test"]
answers = predictor.predict([digits / row.locator for row in test])

pairs = sorted(zip(test, answers, strict=True), key=lambda pair: pair[1].scores[pair[1].label])[:20]
titles, colours = [], []
for row, answer in pairs:
    is_right = answer.label == row.label
    titles.append(f"{answer.label}  {answer.scores[answer.label]:.0%}" + ("" if is_right else f"\nis {row.label}"))
    colours.append("black" if is_right else "tab:red")
show([Image.open(digits / row.locator) for row, _ in pairs], titles, colours=colours)

# %%
confusion = np.zeros((10, 10), dtype=int)
for row, answer in zip(test, answers, strict=True):
    confusion[int(row.label), int(answer.label)] += 1
wrong = confusion.sum() - np.trace(confusion)

figure, axis = plt.subplots(figsize=(4, 4))
axis.imshow(confusion, cmap="Blues")
for truth, said in zip(*np.nonzero(confusion), strict=True):
    colour = "white" if truth == said else "tab:red"
    axis.text(said, truth, confusion[truth, said], ha="center", va="center", fontsize=9, color=colour)
axis.set(
    xticks=range(10), yticks=range(10), xlabel="the model said", ylabel="it is", title=f"{wrong} wrong of {len(test)}"
)
plt.show()

# %% [markdown]
# A model answers even where there is nothing to see. It proposes a threshold, under which the answer is "none of these"; it
# helps, and does not catch everything.
#
# > Un modèle répond même quand il n’y a rien à voir. Il propose un seuil, sous lequel la réponse est « aucun de ceux-là » ;
# > cela aide, sans tout attraper.

# %%
noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
bold = predictor.predict(list(noise))
careful = predictor.predict(list(noise), threshold="auto")
titles = [
    f"{one.label}  {one.scores[one.label]:.0%}\n{other.label or 'none'}"
    for one, other in zip(bold, careful, strict=True)
]
show(noise, titles)
n_none = sum(one.label is None for one in careful)
print(f"The threshold is {predictor.proposed_threshold:.2f}; with it, {n_none} of {len(noise)} have no answer.")

# %% [markdown]
# ## The ten lines of plain PyTorch behind it
#
# Without Ouvroir, on the same train pictures: a small network, and a loop that draws pictures, measures the surprise, and
# follows its slope downwards. It may well do as good as the model above, since these digits are easy. What it lacks is all that
# stands around it: the account of each file, the splits, the baselines and intervals, going on after a stop, and a file that
# others can use.
#
# > **Les dix lignes de PyTorch derrière tout cela.** Sans Ouvroir, sur les mêmes images : un petit réseau, et une boucle qui
# > tire des images, mesure la surprise et en descend la pente. Elle peut très bien égaler le modèle ci-dessus, car ces chiffres
# > sont faciles. Ce qui lui manque est tout ce qui l’entoure : le compte de chaque fichier, les partages, les repères et les
# > intervalles, la reprise après un arrêt, et un fichier que d’autres puissent utiliser.


# %%
def tensors(split):
    """(N, 1, 8, 8) float32 from 0 to 1, and (N,) the digits."""
    rows = [row for row in manifest.rows if row.split == split]
    pixels = np.stack([np.asarray(Image.open(digits / row.locator), dtype=np.float32) for row in rows])
    return torch.from_numpy(pixels / 255)[:, None], torch.tensor([int(row.label) for row in rows])


torch.manual_seed(0)
pictures, labels = tensors("train")
shallow = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]  # (B, 32, 4, 4)
deep = [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten()]  # (B, 1024)
network = nn.Sequential(*shallow, *deep, nn.Linear(1024, 10))
optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
for _ in range(300):
    drawn = torch.randint(len(labels), (32,))
    surprise = functional.cross_entropy(network(pictures[drawn]), labels[drawn])
    optimiser.zero_grad()
    surprise.backward()
    optimiser.step()

unseen, truth = tensors("test")
with torch.no_grad():
    share = (network(unseen).argmax(1) == truth).float().mean().item()
print(f"plain network: {share:.1%} of {len(truth)} test pictures; Ouvroir's: {run.headline()[1]['value']:.1%}")

# %% [markdown]
# Next: your own folder of pictures in place of `digits`, or `ouvroir.refine(folder, minutes=10)`, which also tries whether
# synthetic pictures help, and writes a report: [Your first model](../docs/guides/your-first-model.md).
#
# > Ensuite : votre propre dossier d’images à la place de `digits`, ou `ouvroir.refine(folder, minutes=10)`, qui essaie aussi si
# > des images synthétiques sont utiles et rédige un rapport : [Your first model](../docs/guides/your-first-model.md).
