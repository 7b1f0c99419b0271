"""Makes the folder Libri2Mix. What is there already is kept, so that a making that was interrupted goes on."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from downstream.corpora.folders import MARKER, FolderIndex, refuse_missing
from downstream.corpora.librimix import kaldi
from downstream.corpora.librimix.metadata import EXPECTED, PARTS, Mixture, find_lists, read_list
from downstream.corpora.librimix.mixing import (
    FOLDERS,
    MODES,
    NOISY,
    SHORTEST_NOISE,
    mix,
    mixed_length,
    wav_bytes,
    wav_file,
)
from downstream.files import Lock, remove_partials, write_bytes, write_text
from upstream.audio import SAMPLE_RATE, read_audio, read_header
from upstream.errors import DataError, UsageError, unknown

TOP = "Libri2Mix"
SUPERB = {"min": ("mix_clean", "s1", "s2"), "max": ("mix_both",)}  # what separation and diarization read

_THREADS = min(8, os.cpu_count() or 1)
_COLUMNS = {"s1": "source_1_path", "s2": "source_2_path", "noise": "noise_path"}


@dataclass(frozen=True)
class Made:
    """How many files of one mode and part were written, and how many were there."""

    written: int
    kept: int


def make(
    librispeech: Path,
    metadata: Path,
    out: Path,
    wham: Path | None = None,
    rttm: Path | None = None,
    modes: Sequence[str] = MODES,
    parts: Sequence[str] = PARTS,
    folders: Mapping[str, Sequence[str]] = SUPERB,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> dict[str, Made]:
    """Make `out`/Libri2Mix and say what was written, by `mode/part`.

    `metadata` holds the published lists, `wham` the noise (folders tr, cv and tt), `rttm` the files that say when
    LibriSpeech's speakers speak; without it they are looked for beside the lists. `folders` says what is written in
    each mode. Mixtures with noise need `wham`: they are never replaced by clean ones.
    """
    _refuse_what_is_unknown(modes, parts, folders)
    maker = _Maker(Path(librispeech), wham and Path(wham), Path(out) / TOP, {mode: folders[mode] for mode in modes})
    paths = find_lists(Path(metadata), parts)
    mixtures = {part: _listed(path, part, say) for part, path in paths.items()}
    activity = _activity(mixtures, [Path(rttm)] if rttm else [paths[parts[0]].parent, Path(metadata)], maker)
    maker.refuse_absent([mixture for part in parts for mixture in mixtures[part]])
    made = {}
    with _locked(maker.top, say):
        for part in parts:
            done = maker.make_part(part, mixtures[part], progress)
            for mode, results in done.items():
                written = sum(result.written for result in results)
                kept = len(results) * len(folders[mode]) - written
                made[f"{mode}/{part}"] = Made(written, kept)
                say(f"{maker.top}, {mode}/{part}: {written} files written, {kept} were there")
                _write_tables(maker.top, mode, part, folders[mode], results)
            if part in activity:
                _write_diarization(maker.top, part, done["max"], activity[part])
    return made


@dataclass(frozen=True, slots=True)
class _Done:
    """A mixture in one mode when all its files are there."""

    id: str
    samples: int
    written: int


class _Maker:
    """Knows where everything comes from and goes to. `folders` are those to write, by mode."""

    def __init__(self, librispeech: Path, wham: Path | None, top: Path, folders: dict[str, Sequence[str]]) -> None:
        self.librispeech, self.wham, self.top, self.folders = librispeech, wham, top, folders
        noisy = [f"{mode}/{name}" for mode, names in folders.items() for name in names if name in NOISY]
        if noisy and wham is None:
            raise UsageError(
                f"{' and '.join(noisy)} need the noise of WHAM, and no folder of it is given. Download wham_noise.zip "
                "from http://wham.whisper.ai and give its folder with --wham, or make the mode 'min' only: --mode min."
            )
        self.noisy = bool(noisy)
        if (top / MARKER).exists():
            raise UsageError(f"{top} is a small made-up corpus and is left alone. Choose another folder.")

    @property
    def diarization(self) -> bool:
        return "mix_both" in self.folders.get("max", ())

    def refuse_absent(self, mixtures: list[Mixture]) -> None:
        """Before hours of work: is everything there that is to be mixed?"""
        sources = dict.fromkeys(source for mixture in mixtures for source in mixture.sources)
        missing = _absent(self.librispeech, sources)
        refuse_missing(missing, len(sources), "utterances of LibriSpeech", "Unpack https://www.openslr.org/12 again.")
        if self.noisy:
            noises = dict.fromkeys(mixture.noise for mixture in mixtures)
            missing = _absent(self.wham, noises)
            refuse_missing(
                missing, len(noises), "noises of WHAM", "Unpack wham_noise.zip again: http://wham.whisper.ai"
            )

    def make_part(self, part: str, mixtures: list[Mixture], progress: bool) -> dict[str, list[_Done]]:
        """Write what is not there of a part; by mode what is known then of its mixtures, in their order."""
        for mode, names in self.folders.items():
            for name in names:
                remove_partials((self.top / _relative(mode, part, name, "")).parent)
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="mixing")
        try:
            results = pool.map(lambda mixture: self._make(part, mixture), mixtures)
            results = list(tqdm(results, part, len(mixtures), unit=" mixtures", disable=not progress))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C: end what has begun, begin nothing new
        return {mode: [result[mode] for result in results] for mode in self.folders}

    def _make(self, part: str, mixture: Mixture) -> dict[str, _Done]:
        """Write what is not there of a mixture, in every mode."""
        lengths = [_speech_samples(self.librispeech / source) for source in mixture.sources]
        samples = {mode: mixed_length(lengths, mode) for mode in self.folders}
        absent = {mode: self._absent(mode, part, mixture.id, samples[mode]) for mode in self.folders}
        names = {name for paths in absent.values() for name in paths}
        if names:
            sources = [read_audio(self.librispeech / source) for source in mixture.sources]
            noise = _read_noise(self.wham / mixture.noise, max(lengths)) if names & set(NOISY) else None
            for mode, paths in absent.items():
                waves = mix(sources, mixture.gains, mode, noise, mixture.noise_gain)
                for name, path in paths.items():
                    write_bytes(path, wav_file(waves[name]))
        return {mode: _Done(mixture.id, samples[mode], len(paths)) for mode, paths in absent.items()}

    def _absent(self, mode: str, part: str, mixture: str, samples: int) -> dict[str, Path]:
        """The files of a mixture that are not there in full length, by their folders."""
        paths = {name: self.top / _relative(mode, part, name, mixture) for name in self.folders[mode]}
        return {name: path for name, path in paths.items() if _size(path) != wav_bytes(samples)}


def _refuse_what_is_unknown(modes: Sequence[str], parts: Sequence[str], folders: Mapping[str, Sequence[str]]) -> None:
    if not modes or not parts:
        raise UsageError(f"nothing to make: name at least one mode ({', '.join(MODES)}) and part ({', '.join(PARTS)})")
    for kind, names, known in (("mode", modes, MODES), ("part", parts, PARTS)):
        for name in names:
            if name not in known:
                raise unknown(f"{kind} of Libri2Mix", name, known)
    for mode in modes:
        if not folders.get(mode):
            raise UsageError(f"nothing to make in mode '{mode}': name at least one folder ({', '.join(FOLDERS)})")
        for name in folders[mode]:
            if name not in FOLDERS:
                raise unknown("folder of Libri2Mix", name, FOLDERS)


def _listed(path: Path, part: str, say: Callable[[str], None]) -> list[Mixture]:
    mixtures = read_list(path)
    if len(mixtures) != EXPECTED[part]:
        say(f"{path} lists {len(mixtures)} mixtures, the published list {EXPECTED[part]}")
    return mixtures


def _activity(
    mixtures: dict[str, list[Mixture]], folders: list[Path], maker: _Maker
) -> dict[str, dict[str, list[tuple[str, float, float]]]]:
    """When speakers speak in each part; nothing where no diarization folder is made."""
    if not maker.diarization:
        return {}
    activity = {}
    for part, path in kaldi.find_activity(folders, list(mixtures)).items():
        activity[part] = kaldi.read_activity(path)
        kaldi.refuse_unknown([mixture.id for mixture in mixtures[part]], activity[part])
    return activity


def _absent(root: Path, paths: Sequence[str]) -> list[str]:
    index = FolderIndex(root)
    return [str(root / path) for path in paths if not index.has(path)]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _speech_samples(path: Path) -> int:
    header = read_header(path)
    if (header.rate, header.channels) != (SAMPLE_RATE, 1):
        raise DataError(
            f"{path} has {header.channels} channels at {header.rate} Hz; LibriSpeech is mono at {SAMPLE_RATE} Hz. "
            "Unpack https://www.openslr.org/12 again."
        )
    return header.frames


def _read_noise(path: Path, samples: int) -> np.ndarray:
    """The first channel, as far as it is needed; shorter where the file is."""
    header = read_header(path)
    if header.rate != SAMPLE_RATE:
        raise DataError(
            f"{path} is at {header.rate} Hz; the noise for Libri2Mix is at {SAMPLE_RATE} Hz. "
            "Take wham_noise.zip from http://wham.whisper.ai."
        )
    if header.frames < min(samples, SHORTEST_NOISE):
        raise DataError(f"{path} has {header.frames} samples, too few to repeat. Unpack wham_noise.zip again.")
    return soundfile.read(path, samples, dtype="float32", always_2d=True)[0][:, 0]


def _write_tables(top: Path, mode: str, part: str, names: Sequence[str], mixtures: list[_Done]) -> None:
    """The tables of mixtures and their lengths that the published corpus has beside its folders.

    Their paths begin in the folder Libri2Mix, and a column whose folder is not made is left out.
    """
    folder = top / "wav16k" / mode / "metadata"
    remove_partials(folder)
    for mixed in (name for name in names if name.startswith("mix_")):
        beside = [name for name in _COLUMNS if name in names and (mixed == "mix_both" or name != "noise")]
        lines = [",".join(["mixture_ID", "mixture_path", *(_COLUMNS[name] for name in beside), "length"])]
        for mixture in mixtures:
            paths = [_relative(mode, part, name, mixture.id) for name in (mixed, *beside)]
            lines.append(",".join([mixture.id, *paths, str(mixture.samples)]))
        write_text(folder / f"mixture_{part}_{mixed}.csv", "".join(f"{line}\n" for line in lines))


def _write_diarization(top: Path, part: str, mixtures: list[_Done], activity: kaldi.Activity) -> None:
    recordings = [
        kaldi.Recording(mixture.id, _relative("max", part, "mix_both", mixture.id), mixture.samples)
        for mixture in mixtures
    ]
    folder = top / "data" / kaldi.FOLDERS[part]
    remove_partials(folder)
    kaldi.write_folder(folder, recordings, activity)


def _relative(mode: str, part: str, name: str, mixture: str) -> str:
    return f"wav16k/{mode}/{part}/{name}/{mixture}.wav"


@contextmanager
def _locked(top: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One process at a time makes the corpus; others wait, and then find it there."""
    lock = Lock(top / ".lock")
    if not lock.acquire(wait=False):
        say(f"waiting for another process that makes {top}")
        lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()
