"""What is there of the corpora, what is missing and what is broken: everything at once, not the first thing only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from tqdm import tqdm

from downstream.corpora import find, info, read
from downstream.types import Manifest
from upstream.audio import SAMPLE_RATE, read_header
from upstream.errors import BenchmarkError

SAMPLED_HEADERS = 200
SHOWN_BROKEN = 20
BAR_FROM = 2000  # files: fewer are opened before a progress bar could be read


@dataclass
class Audio:
    """What the audio files of a corpus turned out to be."""

    files: int
    opened: int = 0
    hours: float = 0.0
    rates: Counter[int] = field(default_factory=Counter)
    stereo: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def estimated(self) -> bool:
        return self.opened < self.files

    def lines(self) -> list[str]:
        about = f"estimated from all file sizes and {self.opened} headers" if self.estimated else "every header opened"
        lines = [f"{self.files} audio files, {self.hours:.2f} hours ({about})"]
        for rate, count in sorted(self.rates.items()):
            if rate != SAMPLE_RATE:
                lines.append(f"{count} files at {rate} Hz: resampled to {SAMPLE_RATE} Hz when read")
        if self.stereo:
            lines.append(f"{self.stereo} files with more than one channel: averaged when read")
        if self.broken:
            lines.append(f"{len(self.broken)} broken files:")
            lines += [f"  {reason}" for reason in self.broken[:SHOWN_BROKEN]]
            if len(self.broken) > SHOWN_BROKEN:
                lines.append(f"  and {len(self.broken) - SHOWN_BROKEN} more")
        return lines


@dataclass
class Report:
    """One corpus: where it is and what it holds, or why it cannot be read."""

    name: str
    root: Path | None = None
    problem: BenchmarkError | None = None
    manifest: Manifest | None = None
    audio: Audio | None = None

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 something is broken, 3 something is missing."""
        if self.problem is not None:
            return self.problem.exit_code
        if self.audio is not None and self.audio.broken:
            return 1
        return 0 if self.manifest is not None and self.manifest.complete else 3

    def lines(self) -> list[str]:
        lines = [f"{self.name} ({info(self.name).title}): {self.root or 'missing'}"]
        if self.problem is not None:
            lines += [f"  {line}" for line in str(self.problem).splitlines()]
        if self.manifest is not None:
            lines += [f"  {line}" for line in _manifest_lines(self.manifest)]
        if self.audio is not None:
            lines += [f"  {line}" for line in self.audio.lines()]
        return lines


def check(names: Sequence[str], data: Path) -> list[Report]:
    """Look at each corpus under a data folder: its lists, its counts and the header of every audio file."""
    return [_check_one(name, data) for name in names]


def _check_one(name: str, data: Path) -> Report:
    report = Report(info(name).name)
    try:
        report.root = find(name, data)
        report.manifest = read(name, data)
    except BenchmarkError as error:
        report.problem = error
        return report
    report.audio = look_at_audio(report.manifest, full=True)
    return report


def _manifest_lines(manifest: Manifest) -> list[str]:
    lines = []
    if manifest.mini is not None:
        lines.append(f"a small made-up corpus, seed {manifest.mini.get('seed')}: its scores say nothing about a model")
    for split, count in manifest.counts.items():
        lines.append(f"{split}: {count} {_verdict(count, manifest.expected.get(split))}")
    speakers = len({e.group for e in manifest.examples()} - {None})
    targets = _targets(manifest)
    lines.append(", ".join(filter(None, (targets, f"{speakers} speakers" if speakers else ""))))
    return lines + [f"note: {note}" for note in manifest.notes]


def _targets(manifest: Manifest) -> str:
    if manifest.holds:
        return manifest.holds
    examples = list(manifest.examples())
    if all(e.target == (e.group,) for e in examples):
        return ""  # the speakers, who are counted anyway
    if sources := sum(len(e.sources) for e in examples):
        return f"{len(examples)} mixtures of {sources} files"
    targets = {e.target for e in examples}
    if _are_texts(manifest):
        characters = {character for (text,) in targets for character in text}
        return f"{len(targets)} different texts of {len(characters)} different characters"
    return " + ".join(str(len(set(values))) for values in zip(*targets, strict=True)) + " classes"


def _are_texts(manifest: Manifest) -> bool:
    """Classes are those of the first split everywhere, texts are most often new in the others."""
    first, *others = ({e.target for e in examples} for examples in manifest.splits.values())
    later = set().union(*others)
    return 2 * len(later - first) > len(later) and all(len(target) == 1 for target in first | later)


def _verdict(count: int, expected: int | None) -> str:
    if expected is None:
        return "(no published count)"
    if count == expected:
        return "(complete)"
    difference = f"{expected - count} missing" if count < expected else f"{count - expected} too many"
    return f"of {expected}: {difference}"


def look_at_audio(manifest: Manifest, full: bool, sources: bool = True) -> Audio:
    """What the files turn out to be: from all their headers, or from a sample of them and all their sizes.

    Without `sources` only what an upstream hears is looked at, and not what was mixed in it.
    """
    files = dict.fromkeys(file for e in manifest.examples() for file in (e.audio, *(e.sources if sources else ())))
    paths = [manifest.root / file for file in files]
    audio = Audio(len(paths))
    chosen = paths if full else paths[:: max(1, ceil(len(paths) / SAMPLED_HEADERS))]
    seconds, seen_bytes = _open_headers(chosen, audio)
    opened = set(chosen)
    all_bytes = seen_bytes
    for path in paths:
        if path not in opened:
            size = path.stat().st_size
            all_bytes += size
            if size == 0:
                audio.broken.append(f"{path} is empty (0 bytes). Copy the file again.")
    audio.hours = seconds * all_bytes / max(1, seen_bytes) / 3600
    return audio


def _open_headers(paths: Iterable[Path], audio: Audio) -> tuple[float, int]:
    seconds, size = 0.0, 0
    bar = tqdm(paths, desc="opening audio", unit="file", leave=False, disable=None if audio.files >= BAR_FROM else True)
    for path in bar:
        audio.opened += 1
        try:
            header = read_header(path)
        except BenchmarkError as error:
            audio.broken.append(str(error))
            continue
        seconds += header.seconds
        size += path.stat().st_size
        audio.rates[header.rate] += 1
        audio.stereo += header.channels > 1
    return seconds, size
