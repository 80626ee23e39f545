"""Groups without mining: a question of an FAQ, its answer, and what the same FAQ answers to other questions.

Neighbours are the hardest passages that surely do not answer, and they cost no vectors; what mining finds comes later.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

from searchd.train.builders import questions_of
from searchd.train.prepare import PrepareSettings, is_held_out
from searchd.train.types import Group, Material, text_of

NEAR, FAR = 3, 1
"""Negatives of the same source, and of any other."""
MOST_ASKED = 2
"""Question marks in an answer: with more of them it is a table of contents."""


def neighbours(material: Material, settings: PrepareSettings) -> list[Group]:
    """Return a group per FAQ question of a source that is not kept apart and answers enough other questions."""
    kept = [document for document in material.documents if not is_held_out(document, settings)]
    shelves: defaultdict[str, list[str]] = defaultdict(list)
    for document in kept:
        shelves[document.source] += [passage.passage_id for passage in document.passages]
    every = [passage_id for shelf in shelves.values() for passage_id in shelf]
    groups = []
    for question in questions_of(Material(tuple(kept), material.language), settings.seed):
        document, _ = material.passages[question.passage_id]
        rng = Random(f"{settings.seed}:{question.passage_id}:{question.query}")
        near = [one for one in shelves[document.source] if one not in question.also and one != question.passage_id]
        if question.kind != "faq" or len(near) < NEAR:
            continue
        chosen = [question.passage_id, *rng.sample(near, NEAR), *rng.sample(every, FAR)]
        texts = [text_of(*material.passages[one], bare=question.bare) for one in chosen]
        if len(set(texts)) == len(texts) and texts[0].count("?") <= MOST_ASKED:
            labels = (1.0, *(0.0 for _ in texts[1:]))
            groups.append(Group(question.query, "faq", tuple(texts), tuple(0.0 for _ in texts), labels))
    return groups
