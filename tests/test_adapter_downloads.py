"""Weights by URL: from the cache, complete or not at all, and an error that says where to put them."""

import io
from urllib.error import URLError

import pytest

from upstream.adapters import downloads
from upstream.errors import MissingError

URL = "https://example.org/models/apc.ckpt"


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(length)}


def answer_with(monkeypatch, answer):
    def urlopen(request, timeout):
        if isinstance(answer, Exception):
            raise answer
        assert request.full_url == URL
        return answer

    monkeypatch.setattr(downloads, "urlopen", urlopen)


def test_what_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    answer_with(monkeypatch, AssertionError("asked the network"))
    file = tmp_path / "apc.ckpt"
    file.write_bytes(b"here")
    assert downloads.fetched(URL, file, "x") == file


def test_a_download_lands_under_its_name(tmp_path, monkeypatch):
    answer_with(monkeypatch, Answer(b"weights", 7))
    file = downloads.fetched(URL, tmp_path / "cache" / "apc.ckpt", "x")
    assert file.read_bytes() == b"weights"
    assert list(file.parent.iterdir()) == [file]


def test_a_download_that_stops_early_leaves_nothing(tmp_path, monkeypatch):
    answer_with(monkeypatch, Answer(b"weig", 7))
    with pytest.raises(MissingError, match="4 of 7 bytes"):
        downloads.fetched(URL, tmp_path / "apc.ckpt", "x")
    assert not list(tmp_path.iterdir())


def test_offline_the_message_has_the_url_the_place_and_the_way_out(tmp_path, monkeypatch):
    answer_with(monkeypatch, URLError("no network"))
    file = tmp_path / "cache" / "apc.ckpt"
    with pytest.raises(MissingError) as caught:
        downloads.fetched(URL, file, "upstream 's3prl:apc'")
    for part in ("upstream 's3prl:apc'", URL, str(file), "no network", "--weights PATH"):
        assert part in str(caught.value)
    assert not file.parent.exists()
