"""Words spoken by eSpeak NG, where the extra `espeak` brings it: a formant synthesiser of many languages, and far better than ours.

Its library is under the GPL 3, so it is no part of the extra `all`, and is loaded only here. The calls are those of its header
speak_lib.h.

Axes: T samples.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples are handed over, and none are played
_NO_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: a missing file is an answer, and not the end of this process
_BY_CHARACTER, _UTF8 = 1, 1
_WORDS_PER_MINUTE, _PITCH = 1, 3  # espeakRATE and espeakPITCH
_HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def is_there() -> bool:
    """Whether eSpeak NG can be used here."""
    return _library() is not None


@cache
def _library() -> tuple[Any, int, list[np.ndarray], Any] | None:
    """The library, the samples it gives in a second, where they are put, and what puts them there; None without it."""
    try:
        import espeakng_loader
    except ImportError:
        return None
    try:
        library = ctypes.cdll.LoadLibrary(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path()).encode()
        rate = int(library.espeak_Initialize(_SYNCHRONOUS, 0, data, _NO_EXIT))
    except OSError:
        return None
    if rate <= 0:
        return None
    heard: list[np.ndarray] = []

    def hear(wave: Any, n: int, _: Any) -> int:
        if wave and n > 0:
            heard.append(np.ctypeslib.as_array(wave, (n,)).copy())
        return 0

    handler = _HANDLER(hear)
    library.espeak_SetSynthCallback(handler)
    return library, rate, heard, handler


def say(text: str, voice: str, *, words_per_minute: int, pitch: int) -> tuple[np.ndarray, int]:
    """(T,) int16 and its rate: `text` by a voice such as `en+f2`, pitch from 0 to 99. Raises RuntimeError where it cannot."""
    found = _library()
    if found is None:
        raise RuntimeError("eSpeak NG is not there.")
    library, rate, heard, _ = found
    heard.clear()
    if library.espeak_SetVoiceByName(voice.encode()):
        raise RuntimeError(f"eSpeak NG has no voice `{voice}`.")
    library.espeak_SetParameter(_WORDS_PER_MINUTE, words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    content = text.encode()
    failed = library.espeak_Synth(content, len(content) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    if failed or not heard:
        raise RuntimeError(f"eSpeak NG did not say `{text}`.")
    return np.concatenate(heard), rate
