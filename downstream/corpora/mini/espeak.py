"""Speech from espeak-ng through ctypes, where the same arguments always give the same samples."""

import _ctypes
import ctypes
import os
from importlib.util import find_spec

import numpy as np

from upstream.errors import BenchmarkError, MissingError

ESPEAK_RATE = 22050

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when the callback has had every sample
_DONT_EXIT = 0x8000  # otherwise the library ends the process when it does not like its data folder
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def require_espeak() -> None:
    """Says what to install when the synthesizer is not there."""
    if find_spec("espeakng_loader") is None:
        raise MissingError(
            "making mini corpora needs the speech synthesizer espeak-ng, which is not installed. "
            "Type: pip install 'sslbench[mini]'"
        )


def synthesize(text: str, voice: str, words_per_minute: int, pitch: int, pitch_range: int, seed: int) -> np.ndarray:
    """Float32 samples in [-1, 1] at `ESPEAK_RATE`. `voice` is `accent+variant`; pitch and range go from 0 to 99.

    The library keeps phases and random numbers in static variables from one utterance to the next, and initialising
    it again does not reset them. Loading it afresh does, and costs less than half a millisecond.
    """
    import espeakng_loader

    chunks: list[bytes] = []

    def collect(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _SynthCallback(collect)
    data = espeakng_loader.get_data_path()
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        if library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT) != ESPEAK_RATE:
            raise BenchmarkError(
                f"espeak-ng cannot read its voices in {data} (a path over 150 characters is too long for it). "
                "Type: pip install --force-reinstall espeakng-loader"
            )
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()):
            raise BenchmarkError(f"espeak-ng has no voice '{voice}'. Type: pip install --upgrade espeakng-loader")
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, int(value), 0)
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        encoded = text.encode() + b"\0"
        status = library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    if status or not chunks:
        raise BenchmarkError(f"espeak-ng could not speak '{text}' (status {status})")
    return np.frombuffer(b"".join(chunks), dtype="<i2").astype(np.float32) / np.float32(32768)
