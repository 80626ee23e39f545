"""Material -> groups to fit on and held-out queries to measure with, kept in the run's folder.

Held out are whole documents, or whole sources where the material names them: no text of theirs is trained on. Every step
leaves a file; a run that goes on finds it and does not repeat the step.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from searchd.train.builders import questions_of
from searchd.train.files import write_lines
from searchd.train.material import Progress
from searchd.train.mining import Miner, MiningSettings
from searchd.train.types import Group, Material, Question, TrainingDocument, text_of

GROUPS, HELD_OUT = "groups.jsonl", "held-out.jsonl"


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """How much is asked, and what is kept apart."""

    seed: int = 7
    language: str = "en"
    groups: int = 20_000
    """Questions mined at most; kinds and sources share them evenly."""
    held_out: int = 200
    """Queries to measure with, at most."""
    held_out_part: int = 12
    """One in so many documents (or sources) is kept apart."""
    mining: MiningSettings = field(default_factory=MiningSettings)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out query with its candidates in fused order; `relevant` is the place of each text that answers it."""

    query: str
    kind: str
    texts: tuple[str, ...]
    relevant: tuple[int, ...]


def is_held_out(document: TrainingDocument, settings: PrepareSettings) -> bool:
    """Say whether a document is kept apart: by a hash of its source, else of its id; stable as collections grow."""
    name = document.source or document.document_id
    digest = hashlib.sha256(f"{settings.seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % settings.held_out_part == 0


def prepare(
    material: Material,
    vectors: NDArray[np.float32],
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    folder: Path,
    settings: PrepareSettings,
    progress: Progress,
    judged: Sequence[Question] = (),
) -> None:
    """Write the groups and the held-out queries, unless they are there. `encode` gives queries' vectors."""
    if (folder / GROUPS).is_file() and (folder / HELD_OUT).is_file():
        return
    train, held = parted(material, settings, judged)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        miner = Miner(material, vectors, Path(scratch), settings.language, lambda one: is_held_out(one, settings))
        try:
            held_vectors = encode([question.query for question in held])
            write_lines(folder / HELD_OUT, held_out_queries(miner, held, held_vectors, settings))
            train_vectors = encode([question.query for question in train])
            groups = mined(miner, train, train_vectors, settings, progress)
            Random(settings.seed).shuffle(groups)  # noqa: S311
            write_lines(folder / GROUPS, groups)
        finally:
            miner.close()


def parted(
    material: Material, settings: PrepareSettings, judged: Sequence[Question]
) -> tuple[list[Question], list[Question]]:
    """Return the questions to train on and those to measure with; judged ones are never left out for their number."""
    made = questions_of(material, settings.seed)
    train: list[Question] = []
    held: list[Question] = []
    for question in (*judged, *made):
        document, _ = material.passages[question.passage_id]
        (held if is_held_out(document, settings) else train).append(question)
    held = [question for question in held if question.kind in ("judged", "faq", "asked", "heading", "title", "link")]
    return balanced(train, material, settings.groups, settings.seed), balanced(
        held, material, settings.held_out, settings.seed
    )


def balanced(questions: Sequence[Question], material: Material, count: int, seed: int) -> list[Question]:
    """Return at most `count`, taken in turn from every kind of every source; judged ones and FAQs first."""
    rng = Random(seed)  # noqa: S311
    shelves: defaultdict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        document, _ = material.passages[question.passage_id]
        shelves[question.kind, document.source].append(question)
    chosen: list[Question] = []
    for kind in ("judged", "faq"):
        for shelf in [name for name in shelves if name[0] == kind]:
            chosen += shelves.pop(shelf)
    rng.shuffle(chosen)
    queues = [rng.sample(shelf, len(shelf)) for _, shelf in sorted(shelves.items())]
    while queues and len(chosen) < count:
        rng.shuffle(queues)
        chosen += [queue.pop() for queue in queues]
        queues = [queue for queue in queues if queue]
    return chosen[:count]


def mined(
    miner: Miner,
    questions: Sequence[Question],
    vectors: NDArray[np.float32],
    settings: PrepareSettings,
    progress: Progress,
) -> list[Group]:
    """Return the groups of those questions whose answer is found and that have negatives enough."""
    groups = []
    for done, group in enumerate(miner.mine(questions, vectors, settings.mining, settings.seed), start=1):
        if group is not None:
            groups.append(group)
        if done % 100 == 0 or done == len(questions):
            progress("mining", done, len(questions))
    return groups


def held_out_queries(
    miner: Miner, questions: Sequence[Question], vectors: NDArray[np.float32], settings: PrepareSettings
) -> list[HeldOut]:
    """Return the held-out queries with their fused candidates, read as they are served: with title and headings.

    Of questions that are bare, all texts are. Queries whose answer is not found stay: they cost every order the same.
    """
    found = []
    for question, vector in zip(questions, vectors, strict=True):
        ranked = miner.ranked(question.query, miner.vectors @ vector, settings.mining.depth)
        relevant = {question.passage_id, *(question.also if question.kind != "title" else ())}
        texts = tuple(text_of(*miner.material.passages[one], bare=question.bare) for one in ranked)
        places = tuple(place for place, one in enumerate(ranked) if one in relevant)
        if places:
            found.append(HeldOut(question.query, question.kind, texts, places))
    return found


def counted(groups: Sequence[Group]) -> dict[str, int]:
    """Return how many groups there are of each kind, for the card."""
    return dict(Counter(group.kind for group in groups).most_common())
