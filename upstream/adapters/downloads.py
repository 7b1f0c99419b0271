"""A weights file by its URL: the copy in a library's own cache, else downloaded to there, else an error that helps."""

import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from tqdm import tqdm

from upstream.errors import MissingError

TIMEOUT = 20  # seconds without a byte
CHUNK = 1 << 20


def fetched(url: str, file: Path, wanted_by: str) -> Path:
    """`file`, after downloading it if it is not there yet. It appears under its name only when it is complete."""
    if not file.is_file():
        try:
            _download(url, file)
        except (OSError, HTTPException) as error:
            raise MissingError(
                f"{wanted_by}: its weights are not here. Wanted: {url}; looked for: {file}; "
                f"the download failed: {error}. "
                "Give a local copy with --weights PATH, or put it where it was looked for."
            ) from error
    return file


def _download(url: str, file: Path) -> None:
    with urlopen(Request(url, headers={"User-Agent": "sslbench"}), timeout=TIMEOUT) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            try:
                with tqdm(total=expected or None, unit="B", unit_scale=True, desc=file.name, disable=None) as bar:
                    while piece := answer.read(CHUNK):
                        part.write(piece)
                        bar.update(len(piece))
                if part.tell() < expected:
                    raise OSError(f"{part.tell()} of {expected} bytes came")
                part.close()
                Path(part.name).replace(file)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
