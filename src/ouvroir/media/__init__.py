"""The registry: task names to the class that carries them, and how to find a task for some files.

A plain dict. To add a task, add a line; `module:Class` names a task from anywhere, outside the package too.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import TYPE_CHECKING

from ouvroir.errors import UsageError
from ouvroir.source import FOLDER

if TYPE_CHECKING:
    from ouvroir.task import Task


@dataclass(frozen=True)
class Entry:
    """Where a task's class is, the suffixes of the files it reads, and a sentence about it.

    The suffixes stand here and not in the class, so that a task can be told from files without importing any.
    `advice`: what to do with files of other suffixes that belong to the medium; `columns`: what a table may call the column
    of its files, in small letters without accents. `also`: suffixes of files that are read too, though they tell no task: of
    sounds, those of videos. `sequences`: suffixes of files that make one row together where a folder holds them numbered.
    `reads_text`: as of the task. `unlabelled`: the task for the same files where they have no labels and this one needs them.
    `block_bytes`: files of more bytes are cut into blocks, each a row; 0 for none. `captions`: its files may be named as files of
    other media beside them, and say things of these.
    """

    target: str
    suffixes: frozenset[str]
    summary: str
    also: frozenset[str] = frozenset()
    sequences: frozenset[str] = frozenset()
    advice: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    reads_text: bool = False
    unlabelled: str = ""
    block_bytes: int = 0
    captions: bool = False


IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .gif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .ico .tga .avif .jp2 .psd .pcx".split()
)
_IMAGE_ADVICE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "Convert it to JPEG: most phones and viewers export pictures so."),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), "Develop this raw file to JPEG or PNG."
    ),
    **dict.fromkeys((".svg", ".eps", ".pdf"), "Export it as PNG."),
}

_IMAGE_COLUMNS = tuple("image,images,image path,img,photo,picture,cliche,imagen,foto,bild,immagine".split(","))

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .m4a .aac .aif .aiff .aifc .au .snd .wma .amr .caf .mka .ape .wv .ac3".split()
)
_AUDIO_COLUMNS = tuple("audio,sound,recording,clip,son,enregistrement,audio file,wav".split(","))

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mkv .webm .avi .mov .mpg .mpeg .ts .m2ts .wmv .flv .3gp .ogv".split())
ANIMATED_SUFFIXES = frozenset({".gif"})
_VIDEO_COLUMNS = tuple("video,videos,clip,clips,film,movie,video file,video path".split(","))

TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown"})
_TEXT_ADVICE = {
    **dict.fromkeys(
        (".doc", ".docx", ".odt", ".rtf", ".html", ".htm", ".epub"), "Save it as plain text (.txt), in UTF-8."
    ),
    ".pdf": "Where it holds text, save that as plain text (.txt), in UTF-8.",
}

TRUSTED_VARIABLE = "OUVROIR_TASKS"

TASKS: dict[str, Entry] = {
    "image-classification": Entry(
        target="ouvroir.media.image.classification:ImageClassification",
        suffixes=IMAGE_SUFFIXES,
        summary="Pictures to one class, or to several labels.",
        advice=_IMAGE_ADVICE,
        columns=_IMAGE_COLUMNS,
    ),
    "image-generation": Entry(
        target="ouvroir.media.image.generation:ImageGeneration",
        suffixes=IMAGE_SUFFIXES,
        summary="New pictures of a class, or of none.",
        advice=_IMAGE_ADVICE,
        columns=_IMAGE_COLUMNS,
    ),
    "image-generation-adversarial": Entry(
        target="ouvroir.media.image.generation_adversarial:AdversarialImageGeneration",
        suffixes=IMAGE_SUFFIXES,
        summary="New pictures of a class, or of none, in one pass each.",
        advice=_IMAGE_ADVICE,
        columns=_IMAGE_COLUMNS,
    ),
    "audio-classification": Entry(
        target="ouvroir.media.audio.classification:AudioClassification",
        suffixes=AUDIO_SUFFIXES,
        also=VIDEO_SUFFIXES,
        summary="Sounds to one class, or to several labels.",
        columns=_AUDIO_COLUMNS,
    ),
    "audio-generation": Entry(
        target="ouvroir.media.audio.generation:AudioGeneration",
        suffixes=AUDIO_SUFFIXES,
        also=VIDEO_SUFFIXES,
        summary="New sounds of a class, or of none.",
        columns=_AUDIO_COLUMNS,
    ),
    "video-classification": Entry(
        target="ouvroir.media.video.classification:VideoClassification",
        suffixes=VIDEO_SUFFIXES,
        also=ANIMATED_SUFFIXES,
        sequences=IMAGE_SUFFIXES - ANIMATED_SUFFIXES,
        summary="Videos to one class, or to several labels.",
        columns=_VIDEO_COLUMNS,
    ),
    "video-generation": Entry(
        target="ouvroir.media.video.generation:VideoGeneration",
        suffixes=VIDEO_SUFFIXES,
        also=ANIMATED_SUFFIXES,
        sequences=IMAGE_SUFFIXES - ANIMATED_SUFFIXES,
        summary="New clips of a class, or of none.",
        columns=_VIDEO_COLUMNS,
    ),
    "text-classification": Entry(
        target="ouvroir.media.text.classification:TextClassification",
        suffixes=TEXT_SUFFIXES,
        summary="Texts to one class, or to several labels.",
        advice=_TEXT_ADVICE,
        reads_text=True,
        unlabelled="text-generation",
        captions=True,
    ),
    "text-generation": Entry(
        target="ouvroir.media.text.generation:TextGeneration",
        suffixes=TEXT_SUFFIXES,
        summary="Language models: new texts in the manner of a corpus, or of a class of texts.",
        advice=_TEXT_ADVICE,
        reads_text=True,
        block_bytes=65_536,
        captions=True,
    ),
}


def find_task(name: str, *, is_asked_for: bool = False) -> Task:
    """The task called `name`, or at `module:Class`. Raises UsageError with a close spelling.

    A task at `module:Class` is code from outside, and a file that names it may come from anybody. It is taken when a
    person asked for it (`--task`, which passes `is_asked_for`), when the whole name stands in $OUVROIR_TASKS, separated by
    commas, or when the program has imported its module and the class there is a task.
    """
    import difflib

    target = TASKS[name].target if name in TASKS else name
    module, _, attribute = target.partition(":")
    if not attribute:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = (
            f"Did you mean `{close[0]}`?" if close else f"There are: {', '.join(TASKS)}; or name one as module:Class."
        )
        raise UsageError(f"There is no task `{name}`. {hint}")
    is_trusted = name in TASKS or is_asked_for or name in os.environ.get(TRUSTED_VARIABLE, "").split(",")
    if not is_trusted and not _is_task(getattr(sys.modules.get(module), "__dict__", {}).get(attribute)):
        raise UsageError(
            f"The task `{name}` is code from outside Ouvroir, which a file asks to run. If you know where both come from, "
            f"set {TRUSTED_VARIABLE}={name}, or import {module} first in Python."
        )
    return _load(name, module, attribute)


@cache
def _load(name: str, module: str, attribute: str) -> Task:
    try:
        found = getattr(importlib.import_module(module), attribute)
        if not _is_task(found):
            raise UsageError(f"`{name}` is no task: a task is a class with what `ouvroir.task.Task` lists.")
        task: Task = found()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"The task `{name}` could not be loaded: {error}.") from error
    return task


def require_whole(task: Task) -> None:
    """Raise UsageError where a task has not all of the protocol, as one that was written for an earlier version."""
    from ouvroir.task import Task as Protocol

    names = [name for name in {**Protocol.__annotations__, **vars(Protocol)} if not name.startswith("_")]
    if lacking := sorted(name for name in names if not hasattr(task, name)):
        raise UsageError(
            f"The task `{task.name}` lacks {', '.join(lacking)}, which `ouvroir.task.Task` lists: was it written for another "
            "version? `ouvroir.usual.Usual` has what most tasks answer alike."
        )


def _is_task(found: object) -> bool:
    """Whether this is the class of a task, by what is unlike any other class; nothing of it is called."""
    has_names = isinstance(found, type) and hasattr(found, "name") and hasattr(found, "load_processor")
    return has_names and is_dataclass(getattr(found, "Options", None))


def suffixes_of(task: str) -> frozenset[str]:
    """File suffixes (lower case, with the dot) that `task` reads; FOLDER among them where folders can be rows."""
    if task not in TASKS:
        return find_task(task).suffixes
    entry = TASKS[task]
    return entry.suffixes | entry.also | (frozenset({FOLDER}) if entry.sequences else frozenset())


def sequences_of(task: str) -> frozenset[str]:
    """Suffixes of the files that make one row of `task` together where a folder holds them numbered."""
    return TASKS[task].sequences if task in TASKS else frozenset()


def readable_suffixes(suffixes: frozenset[str]) -> list[str]:
    """Suffixes for a sentence."""
    return sorted(suffixes - {FOLDER})


def advice_on(suffix: str, task: str | None = None) -> str:
    """What to do with a file that `task`, or any task, does not read, as a sentence; empty when nothing is known."""
    entries = TASKS.values() if task is None else [TASKS[task]] if task in TASKS else []
    return " ".join(dict.fromkeys(entry.advice[suffix] for entry in entries if suffix in entry.advice))


def detect_task(suffix_counts: Mapping[str, int], n_texts: int = 0) -> str | None:
    """The task that reads most of the data: counts of lower-case suffixes, and texts in tables. None when no task reads any.

    Texts beside files of a kind that nothing reads, as the README of a program is, make no data of their own unless they are most
    of all. Documents that can be saved as texts are no such files.
    """
    readable = {
        name: sum(suffix_counts.get(suffix, 0) for suffix in entry.suffixes) + n_texts * entry.reads_text
        for name, entry in TASKS.items()
    }
    best = max(readable, key=lambda name: readable[name])
    if TASKS[best].captions and not n_texts:
        n_documents = sum(suffix_counts.get(suffix, 0) for suffix in TASKS[best].advice)
        if 2 * readable[best] <= sum(suffix_counts.values()) - n_documents:
            return None
    return best if readable[best] else None
