"""The lists of the small QUESST 2014: which file is in which language, and which document holds which query."""

from collections.abc import Mapping

from downstream.corpora.mini.quesst14_speech import Utterance

Named = Mapping[str, Utterance]


def scoring_texts(documents: Named, queries: Mapping[str, Named]) -> dict[str, str]:
    """The files of the folder `scoring`. `queries` are by what the corpus calls their part: dev and eval."""
    texts = {"language_key_utterances.lst": _language_key("Audio", documents)}
    for part, of_part in queries.items():
        texts[f"language_key_{part}.lst"] = _language_key(f"{part}_queries", of_part)
        truth = f"groundtruth_quesst14_{part}"
        texts[f"{truth}/quesst14.ecf.xml"] = _documents_xml(documents)
        texts[f"{truth}/quesst14_{part}.tlist.xml"] = _queries_xml(of_part)
        texts[f"{truth}/quesst14_{part}.rttm"] = _rttm(documents, of_part)
    return texts


def _language_key(folder: str, utterances: Named) -> str:
    return "".join(f"quesst14Database/{folder}/{name}.wav {one.language}\n" for name, one in utterances.items())


def _documents_xml(documents: Named) -> str:
    excerpts = "".join(
        f'<excerpt audio_filename="Audio/{name}.wav" channel="1" tbeg="0.000" dur="{one.seconds:.2f}" '
        'source_type="splitcts"/>\n'
        for name, one in documents.items()
    )
    total = sum(one.seconds for one in documents.values())
    return f'<ecf source_signal_duration="{total:.2f}" language="multiple" version="1.0">\n{excerpts}</ecf>\n'


def _queries_xml(queries: Named) -> str:
    terms = "".join(f'<term termid="{name}"><termtext>{name}</termtext></term>\n' for name in queries)
    head = '<termlist ecf_filename="quesst14.ecf.xml" language="multiple" encoding="UTF-8" version="1.0">'
    return f"{head}\n{terms}</termlist>\n"


def _rttm(documents: Named, queries: Named) -> str:
    """A line for each query in each document, and one for a document without any."""
    names = {(query.language, query.text): name for name, query in queries.items()}
    lines = []
    for name, document in documents.items():
        held = [names[key] for phrase in document.holds if (key := (document.language, phrase)) in names]
        for query in sorted(held) or ["NO_KEYWORD"]:
            lines.append(f"LEXEME {name} 1 0.00 {document.seconds:.2f} {query} lex SPEAKER <NA>\n")
    return "".join(lines)
