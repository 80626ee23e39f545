"""Late interaction (ColBERT): a vector a token; a score is the sum over the query's tokens of the best passage token.

Takes folders and hub names in the layouts of Stanford's ColBERT, PyLate and sentence-transformers' MultiVectorEncoder.
A query's vectors are computed once and remembered; `late_queries.py` says which tokens it has.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.device import importing
from indexer.embedder import plain_tokenizer
from indexer.packing import pack_linears
from indexer.settings import Settings
from indexer.tokens import PassageTokenizer
from indexer.weights import no_progress_bars
from searchd.rerank.adapters import with_adapter
from searchd.rerank.late_files import refuse_missing_weights, refuse_other_models
from searchd.rerank.late_queries import QueryIds, passage_frame, query_form
from searchd.rerank.late_stored import LateReranker
from searchd.rerank.loading import Recipe, Source, load
from searchd.rerank.local import Frame, Pair, padded
from searchd.rerank.pair_texts import longest_of
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker, query_cut
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch

QUERIES_KEPT = 256
"""Their vectors are remembered: 32 x 128 numbers each."""


class LateInteractionModel:
    """A loaded late-interaction model. See `LocalModel`.

    `stored_as` names it without its precision, as an embedder's fingerprint does: stored vectors stay good elsewhere.
    """

    packs = None

    def __init__(self, encoder: Any, digest: str) -> None:
        wrapped = encoder.tokenizer
        if not wrapped.is_fast:
            raise ValueError("it has no tokenizer.json, and none can be made of what it has")
        if wrapped.pad_token_id is None:
            raise ValueError("its tokenizer has no padding token")
        self._encoder = encoder
        self._plain = plain_tokenizer(wrapped)
        self._pad_id = int(wrapped.pad_token_id)
        self._has_types = "token_type_ids" in wrapped.model_input_names
        self.mean = encoder.similarity_fn_name == "meanmaxsim"
        self._queries: OrderedDict[QueryIds, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self.tokenizer = PassageTokenizer(self._plain)
        self.longest = longest_of(encoder[0].model.config, wrapped)
        self._form = query_form(encoder, self._plain, self.longest)
        self._head, self._tail = passage_frame(encoder, self._plain)
        self.dimension = int(encoder.get_embedding_dimension())
        self.fingerprint = hashlib.sha256(f"{digest} {dtype_name(encoder)}".encode()).hexdigest()
        self.stored_as = digest
        self.path = f"late_interaction, {dtype_name(encoder)}, {self.dimension} dimensions, padded batches"

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; the query is read apart, so that its length takes nothing from the passage."""
        ids = self._plain.encode(query, add_special_tokens=False).ids
        cut = query_cut(min(len(ids), self._form.room), len(ids))
        return Frame(head=self._head, tail=self._tail, state=self._form.ids(ids), cut=cut)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)]: MaxSim in float32."""
        import torch

        ids, mask, _ = padded(batch, self._pad_id)
        with torch.inference_mode():
            vectors, scored = self._embed(ids, mask, "document")
            scores = torch.empty(len(batch), dtype=torch.float32)
            for query in dict.fromkeys(pair.frame.state for pair in batch):
                rows = [row for row, pair in enumerate(batch) if pair.frame.state == query]
                scores[rows] = max_sim(self._query_vectors(query), vectors[rows], scored[rows], mean=self.mean).cpu()
        array: NDArray[np.float32] = scores.numpy()
        return array

    def query_vectors(self, query: str) -> int:
        """Return of how many products, one for each scored token of a query, its scores are the sum."""
        return 1 if self.mean else len(self.frame(query, "", self.longest).state.ids)

    def passage_vectors(self, pairs: Sequence[Pair]) -> list[NDArray[np.float32]]:
        """Return float32[n, dim] of the tokens of each passage that are scored; on the device's own thread only."""
        import torch

        ids, mask, _ = padded(pairs, self._pad_id)
        with torch.inference_mode():
            vectors, scored = self._embed(ids, mask, "document")
        return [rows[kept].cpu().numpy() for rows, kept in zip(vectors, scored, strict=True)]

    def query_array(self, query: QueryIds) -> NDArray[np.float32]:
        """Return float32[n, dim] of a query's scored tokens; on the device's own thread only."""
        import torch

        with torch.inference_mode():
            array: NDArray[np.float32] = self._query_vectors(query).cpu().numpy()
        return array

    def _query_vectors(self, query: QueryIds) -> torch.Tensor:
        """Return float32[n, dim] of a query's scored tokens; the device's workers may come here together."""
        with self._lock:
            known = self._queries.get(query)
        if known is None:
            ids, attended, added = (
                np.asarray([row], dtype=np.int64) for row in (query.ids, query.attended, query.added)
            )
            vectors, scored = self._embed(ids, attended, "query", query_expansion_positions=added.astype(bool))
            known = vectors[0][scored[0]]
        with self._lock:
            self._queries[query] = known
            self._queries.move_to_end(query)
            while len(self._queries) > QUERIES_KEPT:
                self._queries.popitem(last=False)
        return known

    def _embed(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], task: str, **more: NDArray[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32[texts, tokens, dim] and bool[texts, tokens]: which of them are scored."""
        import torch

        given = {"input_ids": ids, "attention_mask": mask, **more}
        if self._has_types:
            given["token_type_ids"] = np.zeros_like(ids)
        device = self._encoder.device
        features: dict[str, Any] = {name: torch.from_numpy(array).to(device) for name, array in given.items()}
        features = self._encoder(features | {"modality": "text"}, task=task)
        return features["token_embeddings"].float(), features["attention_mask"].bool()

    def pack(self) -> None:
        """Lay out linear layers for the CPU."""
        ids = np.asarray([self._form.ids(self._plain.encode("how does it work", add_special_tokens=False).ids).ids])
        pack_linears(self._encoder, lambda: self._embed(ids, np.ones_like(ids), "document")[0])


def max_sim(query: torch.Tensor, passages: torch.Tensor, scored: torch.Tensor, *, mean: bool) -> torch.Tensor:
    """Return float32[passages]: of each query token the largest product with a scored passage token, their sum or mean.

    Source: Khattab and Zaharia, ColBERT, SIGIR 2020, equation 3.
    """
    products = passages @ query.T
    best = products.masked_fill(~scored[:, :, None], float("-inf")).amax(dim=1)
    return best.mean(dim=1) if mean else best.sum(dim=1)


def dtype_name(encoder: Any) -> str:
    """Return the precision of a model's weights, in a word."""
    return str(next(encoder.parameters()).dtype).removeprefix("torch.")


def load_late_interaction(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a late-interaction model from a folder or a hub name (`name@revision`).

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    recipe = Recipe("a ColBERT, PyLate or MultiVectorEncoder model", _read, _build)
    model = load(stage, settings, scheduler, recipe)
    assert isinstance(model, LateInteractionModel)  # noqa: S101  # narrows the type: it is what `_build` made
    return LateReranker(model, scheduler)


def _read(source: Source, dtype: torch.dtype) -> tuple[Any, Any]:
    refuse_other_models(source.folder, trusted=source.trusted)
    with importing():
        import torch
        from sentence_transformers import MultiVectorEncoder  # since version 6
        from transformers.utils import logging

    no_progress_bars()
    said = logging.get_verbosity()
    # Otherwise it reports `linear.weight`, which is read apart, as unexpected.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it has no types
    try:
        encoder: Any = MultiVectorEncoder(
            str(source.folder),
            device="cpu",
            trust_remote_code=source.trusted,
            local_files_only=not source.trusted,  # trusted code may lie in another repository
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    finally:
        logging.set_verbosity(said)
    if not source.trusted:
        refuse_missing_weights(encoder[0].model, source.folder)
    with_adapter(encoder[0].model, source.adapter, set())  # in place: what is merged are layers of the backbone
    return encoder.to(dtype=dtype).eval(), None


def _build(encoder: Any, tokenizer: None, digest: str) -> LateInteractionModel:
    model = LateInteractionModel(encoder, digest)
    if encoder.device.type == "cpu":
        model.pack()
    return model
