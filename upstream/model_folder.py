"""A folder as transformers saves a model: config.json, its weights in one file or in several, its preprocessor."""

import json
from pathlib import Path

from upstream.errors import DataError, MissingError

CONFIG = "config.json"
WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEXED = tuple(f"{name}.index.json" for name in WHOLE)
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")


def read_config(folder: Path) -> dict[str, object]:
    if not (folder / CONFIG).is_file():
        raise MissingError(
            f"no {CONFIG} in {folder}. Expected a folder as transformers saves a model, with {CONFIG} and "
            f"{' or '.join(WHOLE)}. Correct the path, or give the weights as a file: --upstream NAME --weights FILE."
        )
    return read_json(folder / CONFIG)


def stated_normalization(folder: Path) -> bool | None:
    """Whether the preprocessor normalises waveforms; None where nothing is said of it."""
    for name in PREPROCESSORS:
        if (folder / name).is_file():
            said = read_json(folder / name)
            said = said.get("feature_extractor", said)
            value = said.get("do_normalize") if isinstance(said, dict) else None
            if value is not None and not isinstance(value, bool):
                raise DataError(
                    f"do_normalize in {folder / name} is {value!r:.100}; expected true or false. Correct it."
                )
            if value is not None:
                return value
    return None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: safetensors where there are any. All are there, or it is an error."""
    for whole, index in zip(WHOLE, INDEXED, strict=True):
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            return _shards(folder / index)
    raise MissingError(
        f"no weights in {folder}. Expected {' or '.join(WHOLE + INDEXED)} beside its {CONFIG}. Correct the path, or "
        "give the weights as a file: --upstream NAME --weights FILE."
    )


def read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}. Use an undamaged file.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; expected an object in braces. Use another file.")
    return content


def _shards(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{index} has no weight_map of tensors to files. Use an undamaged file.")
    shards = sorted(set(names.values()))
    for shard in shards:
        if shard != Path(shard).name:
            raise DataError(f"{index} points outside of its folder: {shard!r:.100}. Use another file.")
        if not (index.parent / shard).is_file():
            raise MissingError(f"{index.parent / shard} is missing; {index.name} lists it. Copy or download it too.")
    return [index.parent / shard for shard in shards]
