"""Finds the folder of a model of the Hugging Face hub: in the local cache, else by downloading what is needed of it."""

from pathlib import Path

from upstream import model_folder
from upstream.errors import MissingError, UsageError

PATIENCE = 4.0  # seconds for the first answer


def locate(hub_id: str, wanted_by: str) -> Path:
    """The local folder of a hub id, with its config.json and all of its weights. `wanted_by` is named in errors."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(hub_id)
    except HFValidationError as error:
        raise UsageError(
            f"upstream '{wanted_by}': '{hub_id}' is no hub id, and no folder here has that name. Expected ORG/NAME, as "
            "in hf:microsoft/wavlm-base, or the path of a folder with a config.json."
        ) from error
    return _cached(hub_id) or _downloaded(hub_id, wanted_by)


def _cached(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, model_folder.CONFIG)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        model_folder.weight_files(folder)
    except MissingError:
        return None  # an earlier download was cut short
    return folder


def _downloaded(hub_id: str, wanted_by: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        info = HfApi().model_info(hub_id, timeout=PATIENCE)
        files = _needed({file.rfilename for file in info.siblings or ()}, hub_id, wanted_by)
        return Path(snapshot_download(hub_id, allow_patterns=files))
    except MissingError:
        raise
    except OfflineModeIsEnabled as error:
        reason = "HF_HUB_OFFLINE forbids to download them. Unset it"
        raise _missing(hub_id, wanted_by, reason) from error
    except GatedRepoError as error:
        reason = f"its owners ask for consent. Give it at {_page(hub_id)}, then log in (hf auth login)"
        raise _missing(hub_id, wanted_by, reason) from error
    except RepositoryNotFoundError as error:
        reason = f"{_page(hub_id)} does not exist, or is private. Correct the id, or log in (hf auth login)"
        raise _missing(hub_id, wanted_by, reason) from error
    except Exception as error:  # whatever the library beneath the hub's library raises when there is no network
        said = next(iter(str(error).splitlines()), type(error).__name__)
        reason = f"the hub did not hand them over ({said:.200}). Run 'hf download {hub_id}' where it can be reached"
        raise _missing(hub_id, wanted_by, reason) from error


def _needed(files: set[str], hub_id: str, wanted_by: str) -> list[str]:
    """Patterns of what to download: never the weights a second time in another format."""
    if model_folder.CONFIG not in files:
        reason = f"{_page(hub_id)} has no {model_folder.CONFIG}: it holds no transformers model. Take another id"
        raise _missing(hub_id, wanted_by, reason)
    small = [model_folder.CONFIG, *model_folder.PREPROCESSORS]
    for whole, index in zip(model_folder.WHOLE, model_folder.INDEXED, strict=True):
        if whole in files:
            return [*small, whole]
        if index in files:
            stem, _, ending = whole.rpartition(".")
            return [*small, index, f"{stem}-*.{ending}"]
    reason = f"{_page(hub_id)} has no {' or '.join(model_folder.WHOLE)}. Take another id"
    raise _missing(hub_id, wanted_by, reason)


def _missing(hub_id: str, wanted_by: str, reason: str) -> MissingError:
    from huggingface_hub import constants

    return MissingError(
        f"upstream '{wanted_by}' wants the weights of '{hub_id}' from the Hugging Face hub. They are not in its cache, "
        f"{constants.HF_HUB_CACHE}, and {reason}, or give a copy of that folder: --weights PATH"
    )


def _page(hub_id: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{hub_id}"
