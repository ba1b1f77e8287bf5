"""Ouvroir: teach models from your own files, see honestly whether they got better, and use them.

    run = ouvroir.refine("flowers/", minutes=10, progress=ouvroir.SHOWN)
    ouvroir.load(run.path).predict(["new.jpg"])

Everything here loads in a moment; heavy libraries load when a function needs them.
"""

import ouvroir.starting  # noqa: F401 -- before anything that takes time

# isort: split

from ouvroir.api import (
    check,
    compare,
    evaluate,
    export,
    finetune,
    generate,
    load,
    predict,
    prove,
    refine,
    refit,
    report,
    resume,
    sample,
    stream,
    train,
    write,
)
from ouvroir.arms import Arm, Way
from ouvroir.errors import OuvroirError
from ouvroir.progress import SHOWN
from ouvroir.recipe import Recipe
from ouvroir.run import Run
from ouvroir.sampling import Sampling

__version__ = "0.1.0"

__all__ = [
    "SHOWN",
    "Arm",
    "OuvroirError",
    "Recipe",
    "Run",
    "Sampling",
    "Way",
    "check",
    "compare",
    "evaluate",
    "export",
    "finetune",
    "generate",
    "load",
    "predict",
    "prove",
    "refine",
    "refit",
    "report",
    "resume",
    "sample",
    "stream",
    "train",
    "write",
]
