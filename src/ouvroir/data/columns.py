"""Which column of a table is which: of paths, texts, labels, splits and groups, by names and by what stands in them.

Whether files that are named exist is asked of the caller.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ouvroir.data.tabular import RawTable, unique_names
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.records import SPLIT_NAMES, as_text, conversation
from ouvroir.task import Label, Note

# Names of columns as `_plain` writes them: small letters, no accents, one blank between words.
_PATH_NAMES = (
    *("path", "file", "filename", "file name", "filepath", "file path"),
    *("fichier", "nom fichier", "nom du fichier", "nom de fichier", "chemin", "chemin fichier"),
    *("archivo", "ruta", "datei", "dateiname", "pfad", "percorso"),
)
_LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "tags", "tag", "class name", "label name", "y", "species"),
    *("sentiment", "polarity", "topic", "intent", "theme", "polarite"),
    *("classe", "classes", "categorie", "categories", "etiquette", "etiquettes", "libelle", "espece"),
    *("clase", "categoria", "etiqueta", "klasse", "kategorie", "etichetta"),
)
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "jeu", "ensemble")
_TEXT_NAMES = (
    *("text", "texts", "sentence", "content", "document", "body", "message", "review", "comment", "post", "tweet"),
    *("texte", "textes", "phrase", "contenu", "avis", "commentaire", "texto", "mensaje", "nachricht", "testo"),
)
_TEXT_WORDS = 4  # and more in a cell, on average, and most cells unlike each other: such a column holds texts
_ID_NAMES = (  # of columns beside texts that are no labels, even where their values repeat
    *("id", "ids", "uid", "uuid", "guid", "key", "index", "idx", "row", "line", "number", "num", "no", "nr"),
    *("unnamed 0", "url", "link", "href", "numero", "ligne", "indice", "lien", "cle"),
)
_GROUP_NAMES = ("group", "group id", "groupe", "grupo", "gruppe")
_GROUP_HINTS = (
    *("speaker", "subject", "patient", "person", "user", "author", "source", "session", "product"),
    *("article", "thread", "conversation", "chapter", "book"),
    *("locuteur", "sujet", "utilisateur", "auteur", "seance", "produit", "fil", "chapitre", "livre"),
)
_NO_LABEL = re.compile(r"-?\d+[.,]\d+|\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[T ].*)?")  # measures, and dates
_SEPARATORS = ";|,/"  # what lists of labels are written with, the surest first
_MANY_VALUES = 20
_SAMPLE = 200  # rows looked at to tell what a column is
_OPTIONS = {"label_column": "--label-column", "group_column": "--group-column"}


@dataclass(frozen=True)
class Columns:
    """Which column is which, as places; None where there is none."""

    path: int | None
    text: int | None
    label: int | None
    split: int | None
    group: int | None

    def without_label(self) -> Columns:
        """The same with no column of labels."""
        return replace(self, label=None)


class NoSuchColumn(DataError):
    """A table lacks a column that was named: `column`, by the setting `data.` and `setting`."""

    def __init__(self, column: str, setting: str, text: str) -> None:
        super().__init__(text)
        self.column, self.setting = column, setting


def find_columns(
    table: RawTable,
    *,
    names_file: Callable[[str], bool],
    looks_like_file: Callable[[str], bool],
    path_column: str | None,
    label_column: str | None,
    group_column: str | None,
    reads_text: bool,
    text_column: str | None = None,
    path_names: Sequence[str] = (),
) -> Columns:
    """Tell the columns of a table apart: the path column is the one whose values name files. Raises DataError.

    `path_names`: what the task's users call that column, besides names such as `file`. A table of a task that reads texts has a
    column of texts instead, unless most values of another name files that are there.
    """
    path = _named(table, path_column, "path_column")
    text = _named(table, text_column, "text_column") if path is None and reads_text else None
    if path is None and reads_text and text is None:
        path = most_name_files(table, names_file)
        text = find_text(table, besides=label_column) if path is None else None
    if path is None and text is None:
        path = _find_path(table, names_file, looks_like_file, (*_PATH_NAMES, *path_names))
    split = _find_split(table)
    group = _named(table, group_column, "group_column")
    if group is None:
        group = _by_name(table, _GROUP_NAMES)
    label = _named(table, label_column, "label_column")
    if label is not None and label == path:
        raise DataError(
            f"`{label_column}` is the column of paths of `{table.name}`, so it cannot be that of the labels. Name another with "
            "--label-column, or say with --set data.path_column=NAME which column holds the paths."
        )
    if label is not None and label == text:
        raise DataError(
            f"`{label_column}` is the column of texts of `{table.name}`, so it cannot be that of the labels. Name another with "
            "--label-column, or say with --set data.text_column=NAME which column holds the texts."
        )
    if label is None:
        label = _by_name(table, _LABEL_NAMES)
        if label is None:
            rest = [place for place in range(len(table.columns)) if place not in (path, split, group, text)]
            label = rest[0] if len(rest) == 1 and not (text is not None and _is_id(table, rest[0])) else None
    return Columns(path=path, text=text, label=label, split=split, group=group)


def _named(table: RawTable, name: str | None, setting: str) -> int | None:
    if name is None:
        return None
    if name not in table.columns:
        plain = {_plain(column): column for column in table.columns}
        close = difflib.get_close_matches(_plain(name), plain, n=1)
        hint = f" Did you mean `{plain[close[0]]}`?" if close else ""
        option = _OPTIONS.get(setting, f"--set data.{setting}")
        text = f"`{table.name}` has no column `{name}` (given by {option}).{hint} It has: {', '.join(table.columns)}."
        raise NoSuchColumn(name, setting, text)
    return table.columns.index(name)


def _by_name(table: RawTable, names: Sequence[str]) -> int | None:
    plain = [_plain(column) for column in table.columns]
    return next((plain.index(name) for name in names if name in plain), None)


def _plain(name: str) -> str:
    """A column's name in small letters, without accents, with one blank between words: `Nom_Fichier`, `CATÉGORIE`."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    return re.sub(r"[\W_]+", " ", letters).strip()


def _sample(table: RawTable, place: int) -> list[str]:
    step = max(1, len(table.values) // _SAMPLE)
    cells = islice((row[place] for row in table.values[::step]), _SAMPLE)
    texts = (cell if isinstance(cell, str) else conversation(cell) or "" for cell in cells)
    return [text.strip() for text in texts if text.strip()]


def _find_path(
    table: RawTable, names_file: Callable[[str], bool], looks_like_file: Callable[[str], bool], names: Sequence[str]
) -> int | None:
    """The column most of whose values name files that are there; else one whose values end like files; else by name."""
    samples = [_sample(table, place) for place in range(len(table.columns))]
    for test in (names_file, looks_like_file):
        hits = [sum(map(test, sample)) for sample in samples]
        best = max(range(len(hits)), key=lambda place: (hits[place], -place), default=None)
        if best is not None and hits[best]:
            return best
    return _by_name(table, names)


def most_name_files(table: RawTable, names_file: Callable[[str], bool]) -> int | None:
    """The first column most of whose values name files that are there; one of a few values is of labels, such as 0 and 1."""
    for place in range(len(table.columns)):
        sample = _sample(table, place)
        is_varied = len(set(sample)) * 2 > len(sample) or len(set(sample)) > _MANY_VALUES
        if sample and is_varied and sum(map(names_file, sample)) * 2 > len(sample):
            return place
    return None


def find_text(table: RawTable, *, besides: str | None = None) -> int | None:
    """The column of texts: by its name, else the one with the longest cells, if these are of several words and differ."""
    found = _by_name(table, _TEXT_NAMES)
    if found is not None and table.columns[found] != besides:
        return found
    lengths = {place: length for place, length in _text_lengths(table).items() if table.columns[place] != besides}
    return max(lengths, key=lambda place: lengths[place], default=None)


def _text_lengths(table: RawTable) -> dict[int, float]:
    """Of the columns whose cells are of several words and differ, the first ones first, how long cells are on average."""
    found = {}
    for place in range(len(table.columns)):
        sample = _sample(table, place)
        n_words = sum(len(cell.split()) for cell in sample)
        if sample and n_words >= _TEXT_WORDS * len(sample) and len(set(sample)) * 2 > len(sample):
            found[place] = sum(map(len, sample)) / len(sample)
    return found


def other_texts(table: RawTable, used: Columns) -> list[str]:
    """The names of the columns that hold texts too, beside those that are used."""
    taken = (used.path, used.text, used.label, used.split, used.group)
    return [table.columns[place] for place in _text_lengths(table) if place not in taken]


def _find_split(table: RawTable) -> int | None:
    place = _by_name(table, _SPLIT_COLUMNS)
    if place is None:
        return None
    sample = _sample(table, place)
    known = sum(cell.lower() in SPLIT_NAMES for cell in sample)
    return place if known and known * 2 > len(sample) else None


def read_head_as_row(table: RawTable, names_file: Callable[[str], bool], path_names: Sequence[str]) -> None:
    """Make a row of the line that the names of columns were read from, if it names a file: the table has no such names.

    A cell without a suffix may be both, as `photo` is where there is a `photo.jpg`: then a usual name of a column decides.
    """
    if table.head is None:
        return
    _, cells = table.head
    files = [cell for cell in cells if cell.strip() and names_file(cell)]
    usual = {*_PATH_NAMES, *_LABEL_NAMES, *_SPLIT_COLUMNS, *_GROUP_NAMES, *path_names}
    if not files or (not any("." in cell for cell in files) and any(_plain(cell) in usual for cell in cells)):
        return
    _make_head_a_row(table)
    text = (
        f"`{table.name}` has no line with names of columns: its first line names a file, so it was read as a row, and the "
        f"columns are called {readable_names(table.columns)}. To name them yourself, put a line such as `file,label` on top."
    )
    table.notes.append(Note("no_header", text))


def _make_head_a_row(table: RawTable) -> None:
    assert table.head is not None
    number, cells = table.head
    table.head, table.columns = None, unique_names([""] * len(cells))
    table.values.insert(0, cells)
    table.numbers.insert(0, number)


def read_head_as_text(table: RawTable) -> None:
    """Make a row of the line that the names of columns were read from, if it holds a text and a label of the rows below."""
    place = find_text(table)
    if table.head is None or place is None or not _may_be_text(table.columns[place]):
        return
    others = [one for one in range(len(table.columns)) if one != place]
    is_row = any(
        1 < len(values := {as_text(cell).strip() for cell in table.column(one)}) <= len(table.values) / 2
        and table.columns[one] in values
        for one in others
    )
    if is_row:
        _make_head_a_row(table)
        text = (
            f"`{table.name}` has no line with names of columns: its first line holds a text and a label, so it was read as a "
            f"row, and the columns are called {readable_names(table.columns)}. To name them yourself, put a line such as "
            "`text,label` on top."
        )
        table.notes.append(Note("no_header", text))


def _may_be_text(name: str) -> bool:
    return _plain(name) not in _TEXT_NAMES and len(name.split()) >= _TEXT_WORDS


def head_in_doubt(table: RawTable, text: int) -> str:
    """A sentence where the name of the column of texts may be a text itself; '' where it is a name."""
    if table.head is None or not _may_be_text(table.columns[text]):
        return ""
    return (
        f"The first line of `{table.name}` was read as names of columns, and not as a row. If it is a row, put a line such as "
        "`text,label` above it."
    )


def proposed_group_columns(table: RawTable, used: Columns) -> list[str]:
    """Columns that are named like something whose rows should stay in one split, and whose values repeat."""
    found = []
    for place, name in enumerate(table.columns):
        is_free = place not in (used.path, used.label, used.split, used.group, used.text)
        if is_free and any(hint in _plain(name) for hint in _GROUP_HINTS):
            values = {str(cell) for cell in table.column(place)}
            if 1 < len(values) < len(table.values):
                found.append(name)
    return found


def label_like(table: RawTable, used: Columns) -> list[str]:
    """Columns that may hold labels by their values: a few texts or whole numbers that repeat, fewest different ones first.

    None beside conversations: what stands there, as a model or a language, is of the log.
    """
    if used.text is not None and any(conversation(cell) for cell in islice(table.column(used.text), _SAMPLE)):
        return []
    found = []
    for place, name in enumerate(table.columns):
        is_id = used.text is not None and _is_id(table, place)
        if place not in (used.path, used.split, used.group, used.text) and not is_id:
            values = {as_text(cell).strip() for cell in table.column(place)} - {""}
            if 1 < len(values) <= len(table.values) / 2 and not any(map(_NO_LABEL.fullmatch, values)):
                found.append((len(values), name))
    return [name for _, name in sorted(found)]


def without_unlikely_label(raw: RawTable, columns: Columns, label_column: str | None) -> Columns:
    """The same without a column of labels that is only the one that is left over, and whose values do not repeat.

    Beside the texts of a corpus stands what each came from, or a number.
    """
    if columns.label is None or label_column is not None or is_label_by_name(raw, columns.label):
        return columns
    is_nested = any(isinstance(cell, dict) for cell in raw.column(columns.label))
    is_likely = raw.columns[columns.label] in label_like(raw, columns) and not is_nested
    return columns if is_likely else columns.without_label()


def _is_id(table: RawTable, place: int) -> bool:
    """Whether the column is called what columns of numbers of rows and the like are called."""
    return _plain(table.columns[place]) in _ID_NAMES


def is_label_by_name(table: RawTable, place: int) -> bool:
    """Whether the column is called what columns of labels are called."""
    return _plain(table.columns[place]) in _LABEL_NAMES


def proposed_separator(cells: Iterable[Any]) -> str | None:
    """What splits label cells such as `red;round` into several labels, or None when they do not look like lists.

    Names hold commas and slashes too, as `Lyon, France` does. These count where lists are of several lengths and their
    parts come back.
    """
    values = {cell.strip() for cell in cells if isinstance(cell, str)}
    for separator in _SEPARATORS:
        lists = [value for value in values if separator in value.strip(separator)]
        parts = Counter(part.strip() for value in values for part in {*value.split(separator)} if part.strip())
        lengths = {value.count(separator) for value in values}
        is_sure = separator in ";|" or (len(lengths) > 1 and sum(parts.values()) >= 1.5 * len(parts))
        if len(lists) >= 2 and is_sure:
            return separator
    return None


def as_label(cell: Any, separator: str | None) -> Label:
    """A label cell: a list or a text with `separator` is several labels, an empty cell is none."""
    if isinstance(cell, list | tuple):
        return tuple(dict.fromkeys(filter(None, map(as_text, cell))))
    text = as_text(cell)
    if separator:
        return tuple(dict.fromkeys(part.strip() for part in text.split(separator) if part.strip()))
    return text if text.strip() else None
