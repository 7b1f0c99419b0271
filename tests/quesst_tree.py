"""QUESST 2014 in its real layout, with three English documents, one of another language, and queries of both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
# In the order of the lists, which is not that of the names.
DOCUMENTS = (
    ("quesst14_00002", "nnenglish"),
    ("quesst14_00004", "czech"),
    ("quesst14_00003", "nnenglish"),
    ("quesst14_00001", "nnenglish"),
)
QUERIES = {
    "dev": (("quesst14_dev_0003", "nnenglish"), ("quesst14_dev_0002", "czech"), ("quesst14_dev_0001", "nnenglish")),
    "eval": (("quesst14_eval_0002", "czech"), ("quesst14_eval_0001", "nnenglish")),
}
OCCURRENCES = {
    "dev": (
        ("quesst14_00003", "quesst14_dev_0001"),
        ("quesst14_00001", "quesst14_dev_0001"),
        ("quesst14_00003", "quesst14_dev_0001"),
        ("quesst14_00001", "quesst14_dev_0003"),
        ("quesst14_00004", "quesst14_dev_0002"),
    ),
    "eval": (("quesst14_00002", "quesst14_eval_0001"), ("quesst14_00004", "quesst14_eval_0002")),
}


def plant(root: Path) -> Path:
    """Three documents, two queries of dev and one of test are English."""
    for name, _ in DOCUMENTS:
        _write_wav(root / "Audio" / f"{name}.wav", 400)
    write_list(root, "utterances", [(f"Audio/{name}.wav", language) for name, language in DOCUMENTS])
    for part, queries in QUERIES.items():
        for name, _ in queries:
            _write_wav(root / f"{part}_queries" / f"{name}.wav", 80)
        write_list(root, part, [(f"{part}_queries/{name}.wav", language) for name, language in queries])
        truth(root, part).mkdir()
        write_documents(root, part, [f"Audio/{name}.wav" for name, _ in DOCUMENTS])
        write_terms(root, part, [name for name, _ in queries])
        write_occurrences(root, part, OCCURRENCES[part])
    return root


def truth(root: Path, part: str) -> Path:
    return root / "scoring" / f"groundtruth_quesst14_{part}"


def write_list(root: Path, part: str, entries: Sequence[tuple[str, str]]) -> Path:
    path = root / "scoring" / f"language_key_{part}.lst"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"quesst14Database/{audio} {language}\n" for audio, language in entries))
    return path


def write_documents(root: Path, part: str, files: Sequence[str]) -> Path:
    excerpts = "".join(
        f'<excerpt audio_filename="{file}" channel="1" tbeg="0.000" dur="3.20" source_type="splitcts"/>\n'
        for file in files
    )
    path = truth(root, part) / "quesst14.ecf.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ecf source_signal_duration="12.8" language="english" version="1">\n{excerpts}</ecf>\n'
    )
    return path


def write_terms(root: Path, part: str, queries: Sequence[str]) -> Path:
    terms = "".join(f'<term termid="{query}"><termtext>{query}</termtext></term>\n' for query in queries)
    path = truth(root, part) / f"quesst14_{part}.tlist.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<termlist ecf_filename="quesst14.ecf.xml" language="english" '
        f'encoding="UTF-8" version="1">\n{terms}</termlist>\n'
    )
    return path


def write_occurrences(root: Path, part: str, occurrences: Sequence[tuple[str, str]]) -> Path:
    """With what else RTTM may hold: comments, speakers, empty lines, and documents in which nothing is found."""
    lines = [";; type file chnl tbeg tdur ortho stype name conf", "SPEAKER quesst14_00002 1 0 3.2 <NA> <NA> a <NA>", ""]
    lines += [f"LEXEME {name} 1 0.00 3.20 NO_KEYWORD lex SPEAKER <NA>" for name, _ in DOCUMENTS]
    lines += [f"LEXEME {document} 1 0.00 3.20 {query} lex SPEAKER <NA>" for document, query in occurrences]
    path = truth(root, part) / f"quesst14_{part}.rttm"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write_wav(path: Path, samples: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.arange(samples, dtype=np.int16), RATE)
