"""A judged set of SQL -> JudgedData: one grade a document, and only the queries that something was judged for."""

from __future__ import annotations

import os

from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound
from indexer.store import judged
from indexer.store.judged import JudgedSet
from searchd.evaluate.types import JudgedData, Topic
from searchd.judge.beir import QUERIES
from searchd.judge.content import document_grades


def set_named(session: Session, collection: str, name: str) -> JudgedSet:
    """Return a judged set. Raises: NotFound, naming those there are, and what a folder of this name lacks."""
    try:
        return judged.get(session, collection, name)
    except NotFound as error:
        if not os.path.isdir(name):
            raise
        raise NotFound(
            f"{error}; the folder {name} is none to measure, for it has no {QUERIES}", code=error.code
        ) from error


def only_set(session: Session, collection: str) -> str:
    """Return the name of a collection's only judged set. Raises: NotFound; InputError naming those there are."""
    names = [one.name for one in judged.of_collection(session, collection)]
    if not names:
        raise NotFound(
            f"collection {collection!r} has no judged set; `searchd judge` and `searchd judged import` make one"
        )
    if len(names) > 1:
        raise InputError(f"collection {collection!r} has several judged sets: searchd eval {' | '.join(names)}")
    return names[0]


def judged_data(session: Session, one: JudgedSet) -> JudgedData:
    """Return a set's judged queries and grades. Raises: InputError if nothing in it is judged."""
    qrels = document_grades(judged.judgments(session, one.set_id))
    topics = tuple(
        Topic(query.query_id, query.text) for query in judged.queries(session, one.set_id) if query.query_id in qrels
    )
    if not topics:
        raise InputError(
            f"judged set {one.name!r} has no judgments yet: `searchd judge {one.name}`, or import some",
            code="nothing_judged",
        )
    return JudgedData(one.name, one.collection, one.kind, one.complete, topics, qrels)
