"""Material -> groups to fit on and held-out queries to measure with, kept in the run's folder.

Held out are whole documents, or whole sources where the material names them: no text of theirs is trained on. Every step
leaves a file; a run that goes on finds it and does not repeat the step.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from searchd.train.builders import questions_of
from searchd.train.files import add_lines, whole_lines, write_lines
from searchd.train.material import Progress
from searchd.train.mining import Miner, MiningSettings
from searchd.train.types import Group, Material, Question, TrainingDocument, text_of

GROUPS, HELD_OUT = "groups.jsonl", "held-out.jsonl"
MEASURED_KINDS = ("judged", "faq", "asked", "heading", "title", "link", "index")
"""Of questions that are measured with; those of clicks are not: their grades are weak."""
MINED_AT_ONCE = 128
SPLIT = 7
"""Begins every hash by which a document is kept apart. Changed, every model in use would know its successors' queries."""


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """How much is asked, and what is kept apart."""

    seed: int = 7
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
    """Say whether a document is kept apart: by a hash of its source, else of its id.

    Stable as collections grow, and whatever a run's seed is: no later run trains on what an earlier one measured with, so
    that the model in use never knows the queries on which another one is compared with it.
    """
    name = document.source or document.document_id
    digest = hashlib.sha256(f"{SPLIT}:{name}".encode()).digest()
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
    apart = apart_of(material, settings)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        miner = Miner(material, vectors, Path(scratch), apart)
        try:
            held_vectors = encode([question.query for question in held])
            write_lines(folder / HELD_OUT, held_out_queries(miner, held, held_vectors, settings))
            mined_so_far = folder / f"mined-{fingerprint(material, vectors, train, settings)}.jsonl"
            groups = list(mined(miner, train, encode, mined_so_far, settings, progress))
        finally:
            miner.close()
    Random(settings.seed).shuffle(groups)  # noqa: S311
    write_lines(folder / GROUPS, groups)
    for path in folder.glob("mined-*.jsonl"):
        path.unlink()


def apart_of(material: Material, settings: PrepareSettings) -> frozenset[str]:
    """Return the passages that are never trained on: those of documents kept apart, and copies of their texts."""
    held = [one for document in material.documents if is_held_out(document, settings) for one in document.passages]
    texts = {passage.text for passage in held}
    return frozenset(name for name, (_, passage) in material.passages.items() if passage.text in texts)


def parted(
    material: Material, settings: PrepareSettings, judged: Sequence[Question]
) -> tuple[list[Question], list[Question]]:
    """Return the questions to train on and those to measure with; judged ones are never left out for their number."""
    apart = apart_of(material, settings)
    held: list[Question] = []
    rest: list[Question] = []
    for question in (*judged, *questions_of(material, settings.seed)):
        document, _ = material.passages[question.passage_id]
        if is_held_out(document, settings):
            held.append(question)
        elif question.passage_id not in apart:
            rest.append(question)
    held = [question for question in held if question.kind in MEASURED_KINDS]
    known = {worded(question) for question in held}  # also those that are too many here: another run may measure them
    rest = [question for question in rest if worded(question) not in known]
    held = balanced(held, material, settings.held_out, settings.seed)
    return balanced(sharing(rest), material, settings.groups, settings.seed), held


def sharing(questions: Sequence[Question]) -> list[Question]:
    """Return the questions, those that are asked of several documents with each other's answers: no negatives of theirs."""
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for question in questions:
        answers[worded(question)].add(question.passage_id)
    return [
        replace(question, also=question.also | (answers[worded(question)] - {question.passage_id}))
        if len(answers[worded(question)]) > 1
        else question
        for question in questions
    ]


def worded(question: Question) -> str:
    """Return a question as it is told from others: case, spaces and the mark at its end make no other question."""
    return " ".join(question.query.casefold().split()).rstrip(" ?!.")


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
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    kept: Path,
    settings: PrepareSettings,
    progress: Progress,
) -> Iterator[Group]:
    """Yield the groups of those questions whose answer is found and that have negatives enough.

    Each slice is added to `kept` when it is done, a line for every question; what stands there is not mined again.
    """
    before = whole_lines(kept, Group | None)
    yield from (group for group in before if group is not None)
    done = len(before)
    if done:
        progress("mining", done, len(questions))
    while done < len(questions):
        some = questions[done : done + MINED_AT_ONCE]
        groups = list(miner.mine(some, encode([one.query for one in some]), settings.mining, settings.seed))
        add_lines(kept, groups)
        yield from (group for group in groups if group is not None)
        done += len(some)
        progress("mining", done, len(questions))


def fingerprint(
    material: Material, vectors: NDArray[np.float32], questions: Sequence[Question], settings: PrepareSettings
) -> str:
    """Name what mining depends on: every text, its vector, the language, the questions and the settings."""
    parts = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    parts.update(material.language.encode())
    for document, passage in material.passages.values():
        parts.update(f"{passage.passage_id}\0{text_of(document, passage)}\0".encode())
    for question in questions:
        parts.update(msgspec.json.encode(replace(question, also=frozenset())))
        parts.update("\0".join(sorted(question.also)).encode())
    parts.update(msgspec.json.encode(settings))
    return parts.hexdigest()[:32]


def held_out_queries(
    miner: Miner, questions: Sequence[Question], vectors: NDArray[np.float32], settings: PrepareSettings
) -> list[HeldOut]:
    """Return the held-out queries with their fused candidates, read as they are served: with title and headings.

    Of questions that are bare, all texts are. Queries whose answer is not found are left out: every order has none of it. A
    query that several documents answer is one query: counted for each, luck with it would pass for a gain.
    """
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for question in questions:
        answers[worded(question)] |= {question.passage_id, *(question.also if question.kind != "title" else ())}
    found = []
    for question, vector in zip(questions, vectors, strict=True):
        relevant = answers.pop(worded(question), None)
        if relevant is None:
            continue
        ranked = miner.ranked(question.query, miner.vectors @ vector, settings.mining.depth)
        texts = tuple(text_of(*miner.material.passages[one], bare=question.bare) for one in ranked)
        places = tuple(place for place, one in enumerate(ranked) if one in relevant)
        if places:
            found.append(HeldOut(question.query, question.kind, texts, places))
    return found


def counted(groups: Sequence[Group]) -> dict[str, int]:
    """Return how many groups there are of each kind, for the card."""
    return dict(Counter(group.kind for group in groups).most_common())
