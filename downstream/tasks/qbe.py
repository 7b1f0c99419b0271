"""Query by example on QUESST 2014: which documents hold what somebody says in a query; nothing is learned."""

from downstream.corpora.quesst14_truth import FOLDERS, ground_truth
from downstream.protocols import SearchProtocol
from downstream.search.compiling import require_numba
from downstream.search.distances import DISTANCES
from downstream.search.query_by_example import QueryByExample
from downstream.tasks import SearchTask
from downstream.types import Example, Manifest, evenly
from upstream.errors import DataError, UsageError, unknown

_PRECISIONS = ("float32", "float64")


def _objective(manifest: Manifest, protocol: SearchProtocol) -> QueryByExample:
    for kind, name, known in (
        ("distance", protocol.distance, DISTANCES),
        ("precision", protocol.precision, _PRECISIONS),
    ):
        if name not in known:
            raise unknown(kind, name, known, f"Another is chosen with --set qbe.{kind}=NAME.")
    if protocol.normalize and protocol.distance == "cosine_neg_log":
        raise UsageError(
            "distance cosine_neg_log is for posteriors, which are all positive; scaled frames are not. Use "
            "--set qbe.normalize=false with it, or another distance."
        )
    require_numba()  # not after hours of hearing
    for side in FOLDERS:
        _refuse_nothing_to_find(manifest, side)
    truth = {side: ground_truth(manifest.root, side) for side in FOLDERS}
    return QueryByExample(manifest.splits, truth, protocol)


def _refuse_nothing_to_find(manifest: Manifest, side: str) -> None:
    documents = {document.id for document in manifest.splits["documents"]}
    queries = manifest.splits[side]
    if not any(documents.intersection(query.target) for query in queries):
        raise DataError(
            f"none of the {len(queries)} {side} queries is said in any of the {len(documents)} documents that are "
            f"searched: there is nothing to find. Use a larger --limit, or look at the RTTM file in "
            f"{manifest.root / FOLDERS[side]}."
        )


def _limited(splits: dict[str, list[Example]], limit: int) -> dict[str, list[Example]]:
    """Queries evenly spread; documents that hold one of them, of dev and test in turn, and if that is few, others."""
    queries = {side: evenly(splits[side], limit) for side in FOLDERS}
    documents = {document.id: document for document in splits["documents"]}
    in_turn = [query for pair in zip(*queries.values(), strict=False) for query in pair]
    holders = (next(filter(documents.__contains__, query.target), None) for query in in_turn)
    chosen = {documents[holder] for holder in [one for one in dict.fromkeys(holders) if one is not None][:limit]}
    chosen.update(evenly([one for one in splits["documents"] if one not in chosen], limit - len(chosen)))
    return {"documents": [one for one in splits["documents"] if one in chosen], **queries}


TASK = SearchTask(name="qbe", corpus="quesst14", metric="mtwv", objective=_objective, limited=_limited)
