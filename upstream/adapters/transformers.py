"""`hf:ORG/NAME` and `hf:FOLDER`: speech encoders of transformers.

Members of our own encoder's family run in it. Everything else that is understood here runs in transformers' code, one
utterance at a time: see `transformers_models` for which, and for what each of them hears.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from upstream import hub
from upstream.adapters import transformers_models as models
from upstream.adapters.alone import adapter_code, run_alone
from upstream.adapters.imports import import_transformers, quiet
from upstream.devices import only_float32
from upstream.encoder.provider import from_folder
from upstream.encoder.shape import OutsideFamily
from upstream.errors import DataError, MissingError, UsageError
from upstream.fingerprint import tensors_digest
from upstream.loaded import Provided
from upstream.model_folder import read_config, stated_normalization, weight_files
from upstream.registry import Source

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
NEVER_HEARD = "masked_spec_embed"  # takes the place of masked frames in training


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for `hf:` names."""
    who = f"upstream '{source.name}'"
    folder = _folder(source, weights, who)
    config = read_config(folder)
    try:
        return from_folder(source, folder, device, dtype)
    except OutsideFamily as reason:
        kind = config.get("model_type")
        if kind not in models.KINDS:
            raise UsageError(
                f"{who} is of type {kind!r} ({folder}: {reason}), and no speech encoder that is "
                f"understood here. Understood: {', '.join(models.KINDS)}. "
                "Wrap it in a Python file of your own: --upstream path/to/mine.py"
            ) from reason
    only_float32(source.name, dtype)
    return _provided(source.name, config, folder, device)


def _provided(name: str, config: dict, folder: Path, device: torch.device) -> Provided:
    who = f"upstream '{name}'"
    transformers = import_transformers()
    kind = models.KINDS[config["model_type"]]
    extractor = _extractor(transformers, kind.extractor, folder, who) if kind.extractor else None
    model = _model(transformers, kind, folder, who).to(device)
    normalize = _normalization(model, folder) if extractor is None else None
    heard = kind.hearing(model, normalize if extractor is None else extractor)
    facts = {
        "config": config,
        "input": {"normalize": normalize} if extractor is None else extractor.to_dict(),
        "transformers": transformers.__version__,
        "code": adapter_code(__file__, models.__file__),
    }
    return Provided(
        run=run_alone(who, heard),
        name=name,
        facts=lambda: {**facts, "weights": tensors_digest(model.state_dict().items())},
        hop=heard.hop,
        min_samples=heard.receptive_field,
        receptive_field=heard.receptive_field,
        max_batch=1,
        note=heard.note,
    )


def _normalization(model: torch.nn.Module, folder: Path) -> bool:
    """As its files say; where they say nothing, by the family's custom: as every convolution is, or is not."""
    stated = stated_normalization(folder)
    return model.config.feat_extract_norm == "layer" if stated is None else stated


def _folder(source: Source, weights: Path | None, who: str) -> Path:
    """--weights, else the folder that the name gives, else the one of the hub id."""
    if weights is not None:
        if not weights.is_dir():
            raise UsageError(f"{who}: --weights {weights} is a file; give the folder that holds config.json too.")
        return weights
    path = Path(source.ref).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise UsageError(f"{who}: {path} is a file. Give its folder, or type: --upstream ckpt:{path}")
    if not HUB_ID.fullmatch(source.ref):
        raise MissingError(f"{who}: no folder {path}. Correct the path after 'hf:', or give a hub id: hf:ORG/NAME")
    return hub.locate(source.ref, source.name)


def _extractor(transformers: ModuleType, kind: str, folder: Path, who: str) -> object:
    """What makes the model's input from a waveform, as its own files say: a default would be a guess."""
    try:
        with quiet():
            return getattr(transformers, kind).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise MissingError(
            f"{who}: how it wants its audio is not readable from preprocessor_config.json in {folder}: "
            f"{str(error).partition(chr(10))[0]}. Put that file there (for a model of your own: "
            f"transformers.{kind}(...).save_pretrained('{folder}'))."
        ) from error


def _model(transformers: ModuleType, kind: models.Kind, folder: Path, who: str) -> torch.nn.Module:
    cls = kind.model(transformers)
    weight_files(folder)  # says better what is missing
    try:
        with _silent(transformers):
            config = cls.config_class.from_pretrained(str(folder), local_files_only=True)
            # An adapter shortens what the encoder gives, for the sake of a decoder. It is no part of the encoder.
            if hasattr(config, "add_adapter"):
                config.add_adapter = False
            model, report = cls.from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                key_mapping=kind.key_mapping,
                output_loading_info=True,
            )
    except Exception as error:
        raise DataError(
            f"{who}: transformers could not load {folder}: {type(error).__name__}: {error}\n"
            "Fetch the model again, or correct the name."
        ) from error
    lacking = [key for key in report["missing_keys"] if not key.endswith(NEVER_HEARD)]
    if lacking:
        raise DataError(
            f"{who}: the weights in {folder} lack {len(lacking)} tensors, which would stay random: "
            f"{', '.join(sorted(lacking)[:5])}. Fetch the model again, or correct the name."
        )
    return model.eval()


@contextmanager
def _silent(transformers: ModuleType) -> Iterator[None]:
    """No progress bars and no report of the keys of decoders and heads, which are left out on purpose."""
    log = transformers.utils.logging
    bars = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        if bars:
            log.enable_progress_bar()
