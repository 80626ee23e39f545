"""What a judge is shown of a query: the top documents of every system and after every stage, interleaved and unlabelled.

Pure: takes the answer of one search, gives documents with their best passage; who found them and with what score is left
behind here. Pooling as in TREC: only what some order put on top is judged, and every order has its say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from searchd.fuse import FUSED
from searchd.present import by_document
from searchd.types import Candidate, SearchResponse

DEPTH = 10
"""Documents that each order puts into the pool: as deep as what is measured (nDCG@10)."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A document to judge, by the passage of it that the whole search put first."""

    document_id: str
    passage_id: str
    title: str
    text: str
    uri: str
    heading_path: tuple[str, ...]
    page: int | None


def pool_of(response: SearchResponse, query_id: str, judged: Collection[str] = ()) -> tuple[Pooled, ...]:
    """Return the pool of a query; documents in `judged` come last.

    Orders take turns by depth; which of them begins depends on the query's id, so that over queries none is favoured.
    """
    orders = list(documents_by_order(response.candidates, names_of(response)).values())
    best = {name: passages[0] for name, passages in by_document(response.candidates).items()}
    taken = list(dict.fromkeys(interleaved(orders, start_of(query_id, len(orders)))))
    ordered = sorted(taken, key=lambda name: name in set(judged))
    return tuple(_pooled(best[name]) for name in ordered)


def names_of(response: SearchResponse) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what orders: systems, each alone, and what orders one after the other, fusion first."""
    return tuple(report.name for report in response.systems), (*FUSED, *(report.name for report in response.stages))


def documents_by_order(
    candidates: Sequence[Candidate], names: tuple[Sequence[str], Sequence[str]], depth: int = DEPTH
) -> Mapping[str, tuple[str, ...]]:
    """Return the top documents of each system and after each stage; what ranked nothing is left out."""
    systems, stages = names
    orders = {name: _ranked(candidates, name) for name in systems}
    before: list[Candidate] = []
    for name in stages:
        scored = _ranked(candidates, name)
        known = {one.passage_id for one in scored}
        if scored:
            before = [*scored, *(one for one in before if one.passage_id not in known)]
            orders[name] = before
    return {name: tuple(by_document(order))[:depth] for name, order in orders.items() if order}


def interleaved(orders: Sequence[Sequence[str]], start: int) -> Iterator[str]:
    """Yield the firsts of all orders, then the seconds, and so on; `start` is the order that begins each time."""
    turned = [*orders[start:], *orders[:start]]
    for place in range(max((len(order) for order in turned), default=0)):
        yield from (order[place] for order in turned if place < len(order))


def start_of(query_id: str, orders: int) -> int:
    """Return which order begins: by chance, but the same for a query every time."""
    digest = hashlib.sha256(query_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % max(1, orders)


def _ranked(candidates: Sequence[Candidate], name: str) -> list[Candidate]:
    return sorted((one for one in candidates if name in one.ranks), key=lambda one: (one.ranks[name], one.passage_id))


def _pooled(best: Candidate) -> Pooled:
    return Pooled(best.document_id, best.passage_id, best.title, best.text, best.uri, best.heading_path, best.page)
