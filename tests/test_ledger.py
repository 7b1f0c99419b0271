"""How often each utterance passed each upstream: counted by hand, merged from workers, and told in words."""

import dataclasses
import json

import numpy as np
import pytest
from feature_sets import counting, noise_corpus, request

from downstream.represent import ledger as ledgers
from downstream.represent.ledger import Ledger

COUNT = 12


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    manifest = noise_corpus(tmp_path_factory.mktemp("noise"), COUNT, 36)  # 36 s each: a hundredth of an hour
    return request(counting(), manifest)


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_an_empty_ledger_has_no_lines(asked):
    ledger = Ledger()
    ledger.heard("mel", asked, np.arange(0))
    assert ledger.lines() == []
    assert Ledger().as_dict() == {}


def test_a_line_for_each_upstream_and_one_for_the_files(asked):
    ledger = Ledger()
    ledger.decoded(asked, np.arange(COUNT))
    for name in ("wavlm", "hubert"):
        ledger.heard(name, asked, np.arange(6))
        ledger.heard(name, asked, np.arange(6, COUNT))
    assert [cells(line) for line in ledger.lines()] == [
        ["audio", "upstream", "utterances", "hours", "passes of each"],
        ["noise: means", "wavlm", "12", "0.12", "once"],
        ["noise: means", "hubert", "12", "0.12", "once"],
        ["noise: means", "(files read)", "12", "0.12", "once, for 2 upstreams"],
    ]


def test_rows_of_other_requests_are_the_same_utterances(asked):
    """Counted by what they are, not by where they stand."""
    ledger, turned = Ledger(), dataclasses.replace(asked, examples=asked.examples[::-1])
    ledger.heard("wavlm", asked, np.array([0, 1]))
    ledger.heard("wavlm", turned, np.array([COUNT - 1]))
    assert cells(ledger.lines()[1])[2:] == ["2", "0.03", "1 to 2 times, 1.5 on average"]


def test_what_is_prepared_otherwise_is_another_hearing_and_says_how(asked):
    ledger = Ledger()
    other = dataclasses.replace(
        asked, gain_db=-3.0, trim=True, least_samples=32000, crop_seconds=8.0, form="frames", croppable=asked.croppable
    )
    for one in (asked, other):
        ledger.heard("wavlm", one, np.arange(COUNT))
    assert [cells(line)[0] for line in ledger.lines()[1:]] == [
        "noise: means",
        "noise: frames, -3 dB, silence taken out, over 32000 samples, for crops of 8 s",
    ]
    assert all(line.endswith("once") for line in ledger.lines()[1:])


def test_ledgers_of_workers_add_up(asked):
    whole, parts = Ledger(), [Ledger(), Ledger()]
    random = np.random.default_rng(0)
    for _ in range(50):
        rows = random.integers(0, COUNT, 3)
        part = parts[random.integers(2)]
        for ledger in (whole, part):
            ledger.heard("wavlm", asked, rows)
            ledger.decoded(asked, rows)
    merged = Ledger()
    for part in parts:
        merged.merge(json.loads(json.dumps(part.as_dict())))
    assert merged.lines() == whole.lines()
    assert len(merged.lines()) == 3
    passes = [int(word) for word in cells(merged.lines()[1])[4].split() if word.isdigit()]
    assert passes[0] < 150 / COUNT < passes[1]


def test_counting_on_the_way_changes_nothing(asked, monkeypatch):
    """A live training makes thousands of calls: what they say is added up now and then."""
    lines = []
    for pending in (1, 1 << 16):
        monkeypatch.setattr(ledgers, "_PENDING", pending)
        ledger = Ledger()
        for number in range(40):
            ledger.heard("wavlm", asked, np.array([number % 5, number % 3]))
        lines.append(ledger.lines())
    assert lines[0] == lines[1]
    assert cells(lines[0][1])[2:] == ["5", "0.80", "8 to 22 times, 16.0 on average"]


def test_everything_as_often(asked):
    ledger = Ledger()
    for _ in range(7):
        ledger.heard("wavlm", asked, np.arange(COUNT))
    assert cells(ledger.lines()[1])[2:] == ["12", "0.84", "7 times"]


def test_what_a_worker_sends_is_small(asked):
    """Eight bytes an utterance that do not repeat, and little else."""
    ledger = Ledger()
    fake = dataclasses.replace(asked)
    fake.identities = np.random.default_rng(0).integers(0, 2**63, 100_000).astype(np.uint64)
    fake.seconds = np.full(100_000, 4.0)
    ledger.heard("wavlm", fake, np.arange(100_000))
    assert len(json.dumps(ledger.as_dict())) < 13 * 100_000
