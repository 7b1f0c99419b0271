"""The list of detections against what s3prl writes for the same scores."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from oracles import import_s3prl_search

from downstream.search.stdlist import stdlist_xml

QUERIES = ("quesst14_dev_0001", "quesst14_dev_0002")
DOCUMENTS = tuple(f"quesst14_{number:05d}" for number in range(1, 13))


@pytest.fixture
def expert(monkeypatch, tmp_path: Path):
    """s3prl's, with threads instead of processes, and what it would be told in a benchmark."""
    module = import_s3prl_search()
    monkeypatch.setattr(module, "ProcessPoolExecutor", ThreadPoolExecutor)
    dtw = {"dist_method": "cosine_exp", "step_pattern": "asymmetric", "subsequence": True, "minmax_norm": True}
    settings = {"max_workers": 1, "feature_normalization": True, "silence_frame": None, "datarc": {}, "dtwrc": dtw}
    return module, module.DownstreamExpert(4, settings, str(tmp_path))


def content(xml: bytes) -> dict:
    """Everything that a file holds, in one order: s3prl writes what is done first."""
    root = ElementTree.fromstring(xml)
    queries = [
        (element.tag, element.attrib, sorted((child.tag, sorted(child.attrib.items())) for child in element))
        for element in root
    ]
    return {
        "tag": root.tag,
        "attributes": root.attrib,
        "queries": sorted(queries, key=lambda query: query[1]["termid"]),
    }


def test_content_is_what_s3prl_writes(expert, monkeypatch, tmp_path):
    module, peer = expert
    scores = {query: np.random.default_rng(seed).gamma(0.3, size=12) for seed, query in enumerate(QUERIES)}

    def match(query, document, query_name, document_name, *_):
        return query_name, document_name, scores[query_name][DOCUMENTS.index(document_name)]

    monkeypatch.setattr(module, "match", match)
    peer.test_dataset = SimpleNamespace(n_queries=len(QUERIES))
    names = [*QUERIES, *DOCUMENTS]
    peer.log_records("dev", {"features": [torch.zeros(6, 4) for _ in names], "audio_names": names})
    theirs = content((tmp_path / "benchmark.stdlist.xml").read_bytes())
    normal = {query: (values - values.mean()) / values.std() for query, values in scores.items()}
    ours = stdlist_xml(((query, zip(DOCUMENTS, normal[query], strict=True)) for query in QUERIES), 2.0)
    assert content(ours) == theirs
    assert {value for *_, terms in theirs["queries"] for _, values in terms for key, value in values} >= {"YES", "NO"}


def test_one_line_per_document():
    detections = [("q1", [("d1", 2.00004), ("d2", 2.0), ("d3", -1.23456)]), ("q2", [])]
    lines = [
        '<stdlist termlist_filename="benchmark.stdlist.xml" indexing_time="1.00" language="english" index_size="1" '
        'system_id="benchmark">',
        '  <detected_termlist termid="q1" term_search_time="1.0" oov_term_count="1">',
        '    <term file="d1" channel="1" tbeg="0.000" dur="0.00" score="2.0000" decision="YES"/>',
        '    <term file="d2" channel="1" tbeg="0.000" dur="0.00" score="2.0000" decision="NO"/>',
        '    <term file="d3" channel="1" tbeg="0.000" dur="0.00" score="-1.2346" decision="NO"/>',
        "  </detected_termlist>",
        '  <detected_termlist termid="q2" term_search_time="1.0" oov_term_count="1">',
        "  </detected_termlist>",
        "</stdlist>",
    ]
    assert stdlist_xml(detections, 2.0).decode().splitlines() == lines


def test_names_are_escaped():
    query, document = "\"a\" & 'b' <c>", "ü<&>\"'.wav"
    (parsed,) = content(stdlist_xml([(query, [(document, 0.5)])], 0.25))["queries"]
    assert parsed[1]["termid"] == query
    ((_, attributes),) = parsed[2]
    assert dict(attributes)["file"] == document and dict(attributes)["decision"] == "YES"
