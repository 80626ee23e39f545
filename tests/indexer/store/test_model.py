"""Random acceptance, parsing, indexing and deletion against a plain model: nobody gets what was not for them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from indexer.scope import Scope
from indexer.store import documents, passages, sources
from indexer.store.content import SourceContent
from indexer.store.database import Database
from indexer.types import passage_id, source_id
from tests.indexer.store.steps import DOCS, accept, content_of, file, index, live, new_task, parsed, save

STEPS = 70
READERS = ("public", "staff", "board")
NAMES = tuple("abcd")


@dataclass(slots=True)
class Model:
    """What was promised: the access list in force per document, and every (text, access) that it ever had."""

    access: dict[str, frozenset[str]] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    history: dict[str, list[tuple[str, frozenset[str]]]] = field(default_factory=dict)
    pending: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    loaded: list[tuple[str, SourceContent, str]] = field(default_factory=list)

    def save(self, name: str, text: str, access: tuple[str, ...]) -> None:
        self.access[name], self.text[name] = frozenset(access), text
        self.history.setdefault(name, []).append((text, frozenset(access)))

    def forget(self, name: str) -> None:
        self.access.pop(name, None)
        self.text.pop(name, None)
        self.pending.pop(name, None)


def check(database: Database, model: Model, generation_id: str) -> dict[tuple[str, str], str]:
    """Assert that no reader gets a text that was never for them, or not any more; return what each gets."""
    seen: dict[tuple[str, str], str] = {}
    ids = {passage_id(DOCS, name, 0): name for name in NAMES}
    with database.read() as session:
        for reader in READERS:
            scope = Scope(DOCS, frozenset({reader}))
            for name in NAMES:
                document = documents.get(session, scope, name)
                assert (document is not None) == (reader in model.access.get(name, ())), (reader, name)
                assert document is None or document.text == model.text[name]
            for one in passages.load(session, scope, generation_id, list(ids)).values():
                assert reader in model.access.get(one.document_id, ()), (reader, one)
                assert any(t == one.text and reader in a for t, a in model.history[one.document_id]), (reader, one)
                seen[reader, one.document_id] = one.text
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_no_sequence_of_changes_shows_a_text_to_somebody_it_was_not_for(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    model = Model()
    generation = live(database)
    for step in range(STEPS):
        name = chance.choice(NAMES)
        move = chance.choice(["accept", "accept", "load", "parse", "parse", "index", "index", "delete", "prune"])
        if move == "accept":
            access = tuple(chance.sample(READERS, chance.randint(1, 3)))
            text = f"{name} {step}" if chance.random() < 0.7 else model.text.get(name, "same")
            accept(database, file(f"f:/{name}", text, document_id=name, access=access), now=float(step))
            model.pending[name] = (text, access)
            if name in model.access:
                model.access[name] &= frozenset(access)
        elif move == "load" and name in model.pending:
            content = content_of(database, f"f:/{name}")
            if content is not None:
                model.loaded.append((name, content, model.pending[name][0]))
        elif move == "parse":
            if model.loaded and chance.random() < 0.5:
                late, content, text = model.loaded.pop()
                saved = save(database, content, parsed(text), now=float(step))
                if saved.changed or (content_of(database, f"f:/{late}") is None and late in model.pending):
                    model.save(late, *model.pending.pop(late))
            elif name in model.pending:
                fresh = content_of(database, f"f:/{name}")
                text, access = model.pending.pop(name)
                if fresh is not None:
                    save(database, fresh, parsed(text), now=float(step))
                    model.save(name, text, access)
        elif move == "index":
            index(database, generation, [name])
        elif move in ("delete", "prune"):
            with database.session() as session:
                task_id = new_task(session, "delete")
                if move == "delete":
                    documents.delete(session, DOCS, [name], task_id, float(step))
                else:
                    sources.delete(session, DOCS, [source_id(DOCS, f"f:/{name}")], task_id, float(step))
            model.forget(name)
        check(database, model, generation.generation_id)
    index(database, generation, NAMES)
    seen = check(database, model, generation.generation_id)
    assert seen == {(reader, name): model.text[name] for name, access in model.access.items() for reader in access}
