"""Spoken digits to try things on: English words from zero to nine, six voices, by eSpeak NG or a small formant synthesiser.

They exist for trying and for tests, and ours sound like a machine of 1970; results on them say nothing of real voices. Vowels have
the formants of Peterson and Barney (1952), table II; a voice is its pitch and the length of its throat.

Axes: T samples, K harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ouvroir.data.listing import mark_as_made
from ouvroir.media.audio import espeak
from ouvroir.media.audio.encode import as_wav

RATE = 16_000
N_TAKES = 5
VOICES = {
    "ana": (210, 1.16),
    "ben": (118, 1.0),
    "cleo": (245, 1.22),
    "dov": (96, 0.94),
    "eve": (190, 1.1),
    "finn": (135, 1.03),
}
"""Pitch in Hz, and by what the formants of a middling throat are multiplied."""
ESPEAK_VOICES = {"ana": "en+f2", "ben": "en+m1", "cleo": "en+f4", "dov": "en+m3", "eve": "en+f1", "finn": "en+m7"}


@dataclass(frozen=True)
class Phone:
    """One speech sound: formants in Hz, seconds, loudness of voice and of noise, and the middle and width of the noise in Hz."""

    formants: tuple[float, float, float]
    seconds: float
    voice: float = 1.0
    noise: float = 0.0
    middle: float = 3000.0
    width: float = 2000.0


PHONES = {
    "iy": Phone((270, 2290, 3010), 0.14),
    "ih": Phone((390, 1990, 2550), 0.11),
    "eh": Phone((530, 1840, 2480), 0.13),
    "aa": Phone((730, 1090, 2440), 0.14),
    "ao": Phone((570, 840, 2410), 0.15),
    "ah": Phone((640, 1190, 2390), 0.12),
    "uw": Phone((300, 870, 2240), 0.17),
    "ow": Phone((450, 800, 2350), 0.16),
    "w": Phone((300, 610, 2200), 0.07, voice=0.5),
    "r": Phone((420, 1300, 1600), 0.08, voice=0.6),
    "n": Phone((280, 1700, 2600), 0.08, voice=0.35),
    "v": Phone((220, 1100, 2080), 0.06, voice=0.3, noise=0.06, middle=4000, width=3000),
    "z": Phone((240, 1600, 2600), 0.10, voice=0.2, noise=0.25, middle=6000, width=1500),
    "s": Phone((300, 1700, 2600), 0.12, voice=0.0, noise=0.35, middle=6000, width=1500),
    "f": Phone((300, 1200, 2300), 0.10, voice=0.0, noise=0.10, middle=5000, width=4000),
    "th": Phone((300, 1400, 2400), 0.09, voice=0.0, noise=0.08, middle=4500, width=4000),
    "closed": Phone((300, 1500, 2500), 0.05, voice=0.0),
    "t": Phone((300, 1700, 2600), 0.025, voice=0.0, noise=0.4, middle=4500, width=2500),
    "k": Phone((300, 1700, 2300), 0.03, voice=0.0, noise=0.35, middle=2000, width=1000),
}
WORDS = {
    "zero": "z iy r ow",
    "one": "w ah n",
    "two": "closed t uw",
    "three": "th r iy",
    "four": "f ao r",
    "five": "f aa iy v",
    "six": "s ih closed k s",
    "seven": "s eh v ah n",
    "eight": "eh iy closed t",
    "nine": "n aa iy n",
}
_WIDTHS = np.array([70.0, 100.0, 160.0])  # of formants, in Hz
_LOUD = np.array([1.0, 0.6, 0.3])
_SILENCE_S = 0.05


def speak(word: str, rng: np.random.Generator, *, pitch: float, throat: float) -> np.ndarray:
    """(T,) int16 at RATE: a word by a voice of `pitch` Hz, a little different each time."""
    phones = [PHONES[name] for name in WORDS[word].split()]
    tempo = rng.uniform(0.85, 1.2)
    lengths = [max(64, round(phone.seconds * tempo * rng.uniform(0.9, 1.15) * RATE)) for phone in phones]
    n = sum(lengths)
    track = _track(phones, lengths)
    formants = track[:, :3] * throat * rng.normal(1.0, 0.015, 3)
    voiced = _voiced(formants, pitch * rng.uniform(0.93, 1.08), track[:, 3], n)
    hissed = np.zeros(n)
    start = 0
    for phone, length in zip(phones, lengths, strict=True):
        if phone.noise:
            hissed[start : start + length] += phone.noise * _hiss(rng, length, phone.middle, phone.width)
        start += length
    return _recorded(voiced + hissed, RATE, rng)


def spoken(word: str, rng: np.random.Generator, *, voice: str) -> tuple[np.ndarray, int]:
    """(T,) int16 and its rate: a word by one of ESPEAK_VOICES, a little different each time. Raises RuntimeError."""
    pace, pitch = int(rng.integers(130, 211)), int(rng.integers(30, 71))
    wave, rate = espeak.say(word, ESPEAK_VOICES[voice], words_per_minute=pace, pitch=pitch)
    return _recorded(wave / 32768, rate, rng), rate


def _recorded(wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """(T,) int16: more or less loud, in a room that is more or less quiet."""
    wave = np.pad(wave, round(_SILENCE_S * rate))
    wave = wave + rng.normal(0, 10 ** rng.uniform(-3.4, -2.4), len(wave))
    loud = rng.uniform(0.25, 0.8) / np.abs(wave).max()
    found: np.ndarray = np.rint(wave * loud * 32767).astype(np.int16)
    return found


def _track(phones: list[Phone], lengths: list[int]) -> np.ndarray:
    """(T, 4): three formants and the loudness of the voice at each sample, gliding from one sound to the next."""
    values = np.repeat(np.array([[*phone.formants, phone.voice] for phone in phones]), lengths, axis=0)
    kernel = np.hanning(round(0.05 * RATE))
    kernel /= kernel.sum()
    padded = np.pad(values, ((len(kernel) // 2, (len(kernel) - 1) // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, column], kernel, mode="valid") for column in range(4)], axis=1)


def _voiced(formants: np.ndarray, pitch: float, loudness: np.ndarray, n: int) -> np.ndarray:
    """Harmonics of a pitch that falls, each as loud as the formants let it be."""
    hz = pitch * np.linspace(1.06, 0.86, n)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    wave = np.zeros(n)
    for harmonic in range(1, int(4500 / pitch)):
        at = harmonic * hz
        gain = sum(
            loud / (1 + ((at - formants[:, number]) / width) ** 2)
            for number, (loud, width) in enumerate(zip(_LOUD, _WIDTHS, strict=True))
        )
        wave += gain * np.sin(harmonic * phase) / harmonic**0.5
    ramp = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.01 * RATE))
    found: np.ndarray = wave * loudness * ramp * 0.4
    return found


def _hiss(rng: np.random.Generator, n: int, middle: float, width: float) -> np.ndarray:
    """Noise about one frequency, rising and falling."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    at = np.fft.rfftfreq(n, 1 / RATE)
    noise = np.fft.irfft(spectrum * np.exp(-0.5 * ((at - middle) / width) ** 2), n)
    found: np.ndarray = noise / (np.abs(noise).max() + 1e-9) * np.hanning(n + 2)[1:-1]
    return found


def write_digits(folder: Path, *, n_takes: int = N_TAKES, seed: int = 0) -> int:
    """Write `n_takes` of each word by each voice as folder/word/voice_take.wav. Returns the number of files."""
    number = 0
    for word in WORDS:
        (folder / word).mkdir(parents=True, exist_ok=True)
        for voice, (pitch, throat) in VOICES.items():
            for take in range(n_takes):
                rng = np.random.Generator(np.random.PCG64([seed, number]))
                wave, rate = (
                    spoken(word, rng, voice=voice)
                    if espeak.is_there()
                    else (speak(word, rng, pitch=pitch, throat=throat), RATE)
                )
                (folder / word / f"{voice}_{take:02d}.wav").write_bytes(as_wav(wave, rate))
                number += 1
    mark_as_made(folder)
    return number
