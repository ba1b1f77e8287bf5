"""How texts are opened: what is read, what is refused, and what near-duplicates are known by."""

import hashlib

import numpy as np
import pytest

from ouvroir.data.duplicates import MAX_DISTANCE
from ouvroir.errors import Refused
from ouvroir.media.text.reading import MOST_CHARACTERS, inspect_text, marked, near_key, text_of
from ouvroir.source import Source
from ouvroir.task import Limits


def of(content):
    return Source("", "some.txt", content=content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_text_is_the_same_in_any_encoding(encoding):
    text, _ = text_of(of("Où est l’été ?\nIci.\n".encode(encoding)), Limits())
    assert text == "Où est l’été ?\nIci.\n"


def test_an_encoding_other_than_utf8_is_said():
    _, notes = text_of(of("déjà".encode("cp1252")), Limits())
    assert "Windows-1252" in notes[0]
    assert text_of(of("déjà".encode()), Limits())[1] == ()


def test_ends_of_lines_and_composed_letters_are_one_way_of_writing():
    ways = [b"a\r\nb", b"a\rb", b"a\nb"]
    assert {text_of(of(way), Limits())[0] for way in ways} == {"a\nb"}
    assert text_of(of("e\u0301t".encode()), Limits())[0] == "ét"
    keys = [inspect_text(of(way), Limits()).near_key for way in ways]
    assert all(np.array_equal(key, keys[0]) for key in keys)  # so that they stay together


def test_the_hash_is_of_the_file_as_it_is():
    content = "\ufeffdéjà\r\n".encode()
    assert inspect_text(of(content), Limits()).sha256 == hashlib.sha256(content).hexdigest()
    assert inspect_text(Source("", "", text="déjà"), Limits()).sha256 == hashlib.sha256("déjà".encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\0\0\0", "empty"),
        (bytes(range(256)) * 20, "not_text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(1, 32)) * 9, "not_text"),
        (b"a" * (MOST_CHARACTERS + 1), "too_large"),
    ],
)
def test_what_is_no_text_is_refused(content, code):
    with pytest.raises(Refused) as refused:
        text_of(Source("", "x.txt", text=content.decode()) if content == b"" else of(content), Limits())
    assert refused.value.code == code


def test_the_limit_of_decoded_elements_holds():
    with pytest.raises(Refused) as refused:
        text_of(of(b"word " * 100), Limits(max_elements=99))
    assert refused.value.code == "too_large"


def test_a_null_byte_inside_is_left_out_and_said():
    text, notes = text_of(of(b"one\0 two"), Limits())
    assert text == "one two"
    assert "zero bytes" in notes[0]


def test_what_a_made_text_says_of_itself_is_no_part_of_it():
    made = marked("A new lamp.", 'go"od')
    assert made.startswith("---\nsynthetic: true\n")
    assert text_of(of(made.encode()), Limits())[0] == "A new lamp.\n"
    assert text_of(of(marked("x", None).encode()), Limits())[0] == "x\n"


def test_front_matter_of_others_is_text():
    theirs = "---\ntitle: a\n---\nbody"
    assert text_of(of(theirs.encode()), Limits())[0] == theirs


def cosine(one, other):
    a, b = (near_key(text.split()) for text in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


LONG = (
    "the quick brown fox jumps over the lazy dog while the small grey cat looks on from the warm roof of the old barn"
)


def test_near_keys_of_texts():
    changed = f"{LONG} " * 4 + LONG.replace("grey", "gray")
    assert cosine(" ".join([LONG] * 5), changed) > 1 - MAX_DISTANCE
    assert cosine(LONG, LONG.upper()) == pytest.approx(1)
    assert cosine(LONG, "a committee of nine voted on the budget of the port and went home at eleven at night") < 0.8
    assert near_key([]) is None


def test_short_texts_are_not_taken_for_each_other():
    words = [f"word{number}" for number in range(400)]
    keys = np.stack([near_key([word]) for word in words])
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    cosines = keys @ keys.T
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 1 - MAX_DISTANCE


def test_a_recording_is_no_text():
    from ouvroir.media.audio.encode import as_wav

    for samples in (np.zeros(8000, np.int16), np.arange(8000, dtype=np.int16)):
        with pytest.raises(Refused, match="no text in an encoding"):
            text_of(Source("", "a.txt", content=as_wav(samples, 8000)), Limits())
    assert text_of(Source("", "a.txt", content="un été".encode("utf-16")), Limits())[0] == "un été"
