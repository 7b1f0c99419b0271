"""How far apart the frames of a query and of a document are: the distances that SUPERB's search can be run with."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from downstream.search.compiling import machine_code
from upstream.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

DISTANCES = ("cosine_exp", "cosine", "cityblock", "euclidean", "cosine_neg_log")
_COSINES = ("cosine_exp", "cosine", "cosine_neg_log")
_TOGETHER = 32  # frames of the document that stay in the cache while those of the queries pass by


def prepared(frames: "Tensor", distance: str) -> "Tensor":
    """The frames as `between` takes them: of length 1 where it is angles that count. A frame of zeros stays so."""
    if distance not in _COSINES:
        return frames
    lengths = frames.norm(dim=1, keepdim=True)
    return frames / lengths.masked_fill(lengths == 0, 1)


def between(queries: "Tensor", documents: "Tensor", distance: str) -> "Tensor":
    """(query frames, document frames) distances of prepared frames, in their precision.

    A frame of zeros has the cosine 0 with every other. Distances that are no cosines are sums over the dimensions: what
    products give would leave near frames half of the digits.
    """
    import torch

    if distance in _COSINES:
        return _of_cosines(_product(queries, documents), distance)
    if queries.device.type == "cpu":
        return torch.from_numpy(_summed(distance)(queries.numpy(), documents.numpy()))
    power = 1.0 if distance == "cityblock" else 2.0
    return torch.cdist(queries, documents, p=power, compute_mode="donot_use_mm_for_euclid_dist")


def _of_cosines(cosines: "Tensor", distance: str) -> "Tensor":
    import torch

    if distance != "cosine_neg_log":
        distances = torch.sub(1, cosines, out=cosines)
        return distances.expm1_() if distance == "cosine_exp" else distances
    if (cosines <= 0).any():
        raise UsageError(
            "distance cosine_neg_log is for posteriors, whose cosines are all positive; some cosines of these features "
            "are not. Use --set qbe.distance=cosine_exp."
        )
    return cosines.log_().neg_()


def _product(queries: "Tensor", documents: "Tensor") -> "Tensor":
    import torch

    from upstream.encoder.packed import available

    if queries.device.type == "cpu" and queries.dtype == torch.float32 and available():
        # Torch's own float32 product is slow on many CPUs.
        return torch.ops.mkldnn._linear_pointwise(queries, documents, None, "none", [], "")
    return queries @ documents.T


@cache
def _summed(distance: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """City block or Euclidean distances as machine code. Sums are in double precision, as few digits of them differ."""
    squared = distance == "euclidean"

    # Without leave to add in another order, and to multiply and add at once, a loop goes number by number.
    @machine_code("nnan", "nsz", "reassoc", "contract")
    def distances(queries, documents):  # noqa: ANN001, ANN202
        found = np.empty((len(queries), len(documents)), queries.dtype)
        for first in range(0, len(documents), _TOGETHER):
            for i in range(len(queries)):
                for j in range(first, min(first + _TOGETHER, len(documents))):
                    total = 0.0
                    for k in range(queries.shape[1]):
                        apart = queries[i, k] - documents[j, k]
                        total += apart * apart if squared else abs(apart)
                    found[i, j] = np.sqrt(total) if squared else total
        return found

    return distances
