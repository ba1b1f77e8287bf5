"""Sample words: by our own synthesiser anywhere, by eSpeak NG where it is."""

import io
import wave

import numpy as np
import pytest

from ouvroir.media.audio import espeak, samples


def read(path):
    with wave.open(io.BytesIO(path.read_bytes())) as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.mark.parametrize("kind", ["ours", "espeak"])
def test_each_voice_says_each_word(tmp_path, monkeypatch, kind):
    if kind == "ours":
        monkeypatch.setattr(espeak, "is_there", lambda: False)
    elif not espeak.is_there():
        pytest.skip("eSpeak NG is not installed")
    assert samples.write_digits(tmp_path / "words", n_takes=1) == 60
    paths = sorted((tmp_path / "words").rglob("*.wav"))
    assert {path.parent.name for path in paths} == set(samples.WORDS)
    lengths = {}
    for path in paths:
        rate, found = read(path)
        assert rate == (samples.RATE if kind == "ours" else 22_050)
        assert 0.2 < len(found) / rate < 2
        assert 5_000 < np.abs(found.astype(int)).max() < 32_767
        lengths.setdefault(path.parent.name, []).append(len(found) / rate)
    assert np.mean(lengths["seven"]) > np.mean(lengths["eight"])


def test_without_the_library_it_says_so(monkeypatch):
    monkeypatch.setattr(espeak, "_library", lambda: None)
    assert not espeak.is_there()
    with pytest.raises(RuntimeError, match="not there"):
        espeak.say("one", "en", words_per_minute=150, pitch=50)
