"""What tasks want beside the audio of their corpora: pronunciations, a language model, text that can be learned."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from downstream import protocols, tasks
from downstream.types import Manifest
from upstream.errors import BenchmarkError


def check_tasks(names: Sequence[str], manifests: dict[str, Manifest]) -> Iterator[tuple[str, int, list[str]]]:
    """Of each task that has something to say about its corpus: its name, an exit code, and what it says."""
    superb, small = protocols.load("superb"), protocols.load("mini")
    for name in names:
        task = tasks.get(name)
        if task.corpus not in manifests:
            continue
        manifest = replace(manifests[task.corpus], notes=[])
        try:
            task.objective(manifest, (small if manifest.mini else superb).task(name))
        except BenchmarkError as error:
            yield name, error.exit_code, str(error).splitlines()
            continue
        if manifest.notes:
            yield name, 0, [f"note: {note}" for note in manifest.notes]
