"""Clicks -> weak grades: what was opened, set against how often it was looked at where it stood.

A position-based model: a document is opened if it is examined, which its position decides, and if it attracts, which
query and document decide. Few looks give no grade. Pure functions; `click_sets.py` reads what is kept and writes the set.

Sources: the model, Craswell et al., An experimental comparison of click position-bias models, WSDM 2008; its fit by
expectation maximisation, Wang et al., Position bias estimation for unbiased learning to rank in personal search, WSDM
2018; of documents seen at several positions only, since else a good ranking passes for position bias, Agarwal et al.,
Estimating position bias without intrusive interventions, WSDM 2019; the interval, Wilson, JASA 1927.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchd.judge.impressions import Impression

Pair = tuple[str, str]
"""The text of a query, the id of a document."""
Floats = NDArray[np.float64]

PRIOR_LOOKS: Final = 50.0
"""How many impressions of a position its assumed examination is worth: with few clicks the assumption decides."""
SHORT_MS: Final = 10_000
"""A document that was left sooner was no answer, most likely."""
SHORT_WEIGHT: Final = 0.25
"""What its click counts for; one whose dwell nobody told counts whole."""
Z: Final = 1.2816
"""Of the interval: one chance in ten that the truth is below it, and one that it is above."""
LEAST_CLICKS: Final = 2
"""One click is an accident."""
LEAST: Final = {3: 0.5, 2: 0.25, 1: 0.08}
"""Grade -> what the lower end of the interval reaches: in so many of its looks the document was the answer."""
MOST_IRRELEVANT: Final = 0.1
"""Grade 0: what the upper end stays below. Between both there is no grade."""
ROUNDS: Final = 200
SETTLED: Final = 1e-5
HALVINGS: Final = 50


@dataclass(frozen=True, slots=True)
class Evidence:
    """What clicks say of a document for a query."""

    looks: float
    """How often it was examined, as far as the model can tell."""
    clicks: int
    satisfied: float
    """Clicks, the short ones for a part of one."""

    @property
    def relevance(self) -> float:
        """In what share of its looks it was the answer; 0 without looks."""
        return self.satisfied / self.looks if self.looks else 0.0


@dataclass(frozen=True, slots=True)
class _Tally:
    """Impressions counted by pair and position: entry i is of pair `pair[i]` at position `place[i] + 1`."""

    pairs: tuple[Pair, ...]
    pair: NDArray[np.int64]
    place: NDArray[np.int64]
    shown: Floats
    clicked: Floats
    satisfied: Floats

    def over_pairs(self, values: Floats) -> Floats:
        """Return the sum of each pair's entries."""
        return np.bincount(self.pair, values, len(self.pairs)).astype(np.float64)


def assumed_examination(position: int) -> float:
    """Return how often a position is examined before anything is known of it, the first always.

    The inverse square root: milder than 1 / position, which simulations use, so that it corrects too little, not too much.
    """
    return 1.0 / math.sqrt(position)


def weak_grades(impressions: Sequence[Impression]) -> dict[Pair, int]:
    """Return grades 0 to 3 by query text and document; pairs with too little evidence have none."""
    graded = ((pair, grade_of(evidence)) for pair, evidence in evidence_of(impressions).items())
    return {pair: grade for pair, grade in graded if grade is not None}


def grade_of(evidence: Evidence) -> int | None:
    """Return the grade that the evidence is enough for, None for none."""
    low, high = interval(evidence.satisfied, evidence.looks)
    if high < MOST_IRRELEVANT:
        return 0
    if evidence.clicks < LEAST_CLICKS:
        return None
    return next((grade for grade, least in LEAST.items() if low >= least), None)


def interval(successes: float, trials: float) -> tuple[float, float]:
    """Return Wilson's interval of a share; everything is possible without trials."""
    if trials <= 0:
        return 0.0, 1.0
    share, z2 = min(1.0, successes / trials), Z * Z
    middle = share + z2 / (2 * trials)
    half = Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return (middle - half) / (1 + z2 / trials), (middle + half) / (1 + z2 / trials)


def evidence_of(impressions: Sequence[Impression]) -> dict[Pair, Evidence]:
    """Return what is known of every pair, position bias taken out."""
    if not impressions:
        return {}
    tally = _counted(impressions)
    theta = _examination(tally)[tally.place]
    missed = tally.shown - tally.clicked
    clicks, satisfied = tally.over_pairs(tally.clicked), tally.over_pairs(tally.satisfied)
    attraction = _attraction(tally, theta, clicks)[tally.pair]
    unopened = missed * theta * (1 - attraction) / (1 - theta * attraction)
    looks = clicks + tally.over_pairs(unopened)
    return {pair: Evidence(float(looks[i]), int(clicks[i]), float(satisfied[i])) for i, pair in enumerate(tally.pairs)}


def examination(impressions: Sequence[Impression]) -> dict[int, float]:
    """Return how often each position that occurs is examined, the first always: 1.0."""
    if not impressions:
        return {}
    tally = _counted(impressions)
    theta = _examination(tally)
    return {int(place) + 1: float(theta[place]) for place in np.unique(tally.place)}


def _counted(impressions: Sequence[Impression]) -> _Tally:
    numbers: dict[Pair, int] = {}
    cells: defaultdict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in impressions:
        pair = numbers.setdefault((one.query, one.document_id), len(numbers))
        cell = cells[pair, one.position - 1]
        cell[0] += 1
        if one.clicked:
            cell[1] += 1
            cell[2] += 1.0 if one.dwell_ms is None or one.dwell_ms >= SHORT_MS else SHORT_WEIGHT
    keys = np.array(list(cells), np.int64)
    shown, clicked, satisfied = np.array(list(cells.values()), np.float64).T
    return _Tally(tuple(numbers), keys[:, 0], keys[:, 1], shown, clicked, satisfied)


def _examination(tally: _Tally) -> Floats:
    """Fit the examination of every position by EM, on pairs that stood at several; the first stays at 1."""
    places = int(tally.place.max()) + 1
    prior = np.array([assumed_examination(position) for position in range(1, places + 1)])
    moved = (tally.over_pairs(np.ones(len(tally.pair))) > 1)[tally.pair]
    pair, place = tally.pair[moved], tally.place[moved]
    shown, clicked = tally.shown[moved], tally.clicked[moved]
    missed = shown - clicked
    looked = np.bincount(place, shown, places) + PRIOR_LOOKS
    theta = prior.copy()
    attraction = np.full(len(tally.pairs), 0.5)
    asked = np.maximum(np.bincount(pair, shown, len(tally.pairs)), 1.0)
    for _ in range(ROUNDS):
        at, drawn = theta[place], attraction[pair]
        unopened = np.maximum(1 - at * drawn, 1e-12)
        examined = clicked + missed * at * (1 - drawn) / unopened
        attracting = clicked + missed * (1 - at) * drawn / unopened
        before = theta
        theta = (np.bincount(place, examined, places) + PRIOR_LOOKS * prior) / looked
        theta[0] = 1.0
        attraction = np.bincount(pair, attracting, len(tally.pairs)) / asked
        if float(np.abs(theta - before).max()) < SETTLED:
            break
    return theta


def _attraction(tally: _Tally, theta: Floats, clicks: Floats) -> Floats:
    """Return each pair's most likely attraction where positions are examined so often.

    It solves clicks = attraction * sum of unopened * theta / (1 - theta * attraction), whose right side grows: by halving.
    """
    missed = tally.shown - tally.clicked
    low, high = np.zeros(len(tally.pairs)), np.full(len(tally.pairs), 1 - 1e-9)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        right = middle * tally.over_pairs(missed * theta / (1 - theta * middle[tally.pair]))
        low, high = np.where(right < clicks, middle, low), np.where(right < clicks, high, middle)
    found: Floats = (low + high) / 2
    return found
