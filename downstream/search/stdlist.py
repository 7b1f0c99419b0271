"""The list of detections that the scorer of QUESST 2014 reads, as SUPERB takes it for the hidden set."""

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

_HEAD = (
    '<stdlist termlist_filename="benchmark.stdlist.xml" indexing_time="1.00" language="english" index_size="1" '
    'system_id="benchmark">'
)


def stdlist_xml(detections: Iterable[tuple[str, Iterable[tuple[str, float]]]], yes_above: float) -> bytes:
    """Queries in the order given, each with documents and scores, of which those above a score are decided YES."""
    lines = [_HEAD]
    for query, scores in detections:
        lines.append(f'  <detected_termlist termid={quoteattr(query)} term_search_time="1.0" oov_term_count="1">')
        lines += [
            f'    <term file={quoteattr(document)} channel="1" tbeg="0.000" dur="0.00" score="{score:.4f}" '
            f'decision="{"YES" if score > yes_above else "NO"}"/>'
            for document, score in scores
        ]
        lines.append("  </detected_termlist>")
    return "\n".join([*lines, "</stdlist>", ""]).encode()
