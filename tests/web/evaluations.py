"""Hand-made evaluations of any size for the report; figures follow from a fixed seed, and hang together as measured ones do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from searchd.evaluate.evaluation import (
    DifferenceFigures,
    Evaluation,
    FailureFigures,
    Flow,
    FlowPlace,
    QueryFigures,
    Reliability,
    ReliabilityBin,
    SystemFigures,
)
from searchd.evaluate.measures import MEASURES
from searchd.settings import Profile

TIMES = {
    "bm25": 1.9, "dense": 14.0, "rrf": 17.2, "rrf_tuned": 17.3, "linear": 17.6,
    "rrf + small": 262.0, "rrf + small + large": 891.0, "default": 891.0,
}  # fmt: skip
LEVELS = {
    "bm25": 0.381, "dense": 0.412, "rrf": 0.436, "rrf_tuned": 0.441, "linear": 0.444,
    "rrf + small": 0.431, "rrf + small + large": 0.477, "default": 0.477,
}  # fmt: skip
STEPS = ("rrf", "small", "large")
TEXTS = (
    "what similarity laws must be obeyed when constructing aeroelastic models of heated high speed aircraft",
    "can a criterion be developed to show empirically the validity of flow solutions for chemically reacting gas mixtures",
    "heat conduction in composite slabs",
    "كيف أعيد ضبط كلمة المرور الخاصة بي",
    "a_rather_long_identifier_without_any_place_to_break_it.and_another.one.after_it.and.then.some.more.of.the.same",
)


def difference(mean: float, spread: float = 0.02) -> DifferenceFigures:
    """Return a difference whose interval reaches `spread` to both sides."""
    return DifferenceFigures(mean=mean, low=mean - spread, high=mean + spread, real=abs(mean) > spread)


def system(name: str, ndcg: float = 0.4, ms: float = 10.0, **changes: Any) -> SystemFigures:
    """Return a system with every measure; `name` says what stages ran."""
    metrics = {measure: ndcg * factor for measure, factor in zip(MEASURES, (1, 1.3, 0.9, 1.5, 1.2), strict=True)}
    stages = () if " + " not in name else tuple(name.split(" + ")[1:])
    made = SystemFigures(
        name=name,
        stages=stages,
        metrics=metrics,
        ci={measure: (mean - 0.03, mean + 0.03) for measure, mean in metrics.items()},
        vs_rrf={} if name == "rrf" else {measure: difference(ndcg - LEVELS["rrf"]) for measure in metrics},
        p50_ms=ms,
        p95_ms=1.6 * ms,
        pairs=len(stages) * 22.5,
    )
    return msgspec.structs.replace(made, **changes)


def systems() -> tuple[SystemFigures, ...]:
    """Return the eight systems of a profile with two stages."""
    gains = {
        "rrf + small": {"after": "rrf", "gain": difference(LEVELS["rrf + small"] - LEVELS["rrf"])},
        "rrf + small + large": {"after": "rrf + small", "gain": difference(0.046)},
        "rrf_tuned": {"note": "k 20, bm25 0.8: chosen by 5-fold cross-validation"},
        "default": {"stages": ("small", "large"), "pairs": 45.0, "note": "the same as rrf + small + large"},
    }
    return tuple(system(name, LEVELS[name], ms, **gains.get(name, {})) for name, ms in TIMES.items())


def query(number: int, text: str, draw: random.Random) -> QueryFigures:
    """Return a query that some systems serve better than others."""
    base = draw.random()
    moved = 0.0 if draw.random() < 0.3 else draw.gauss(0.05, 0.2)
    ndcg = {name: min(1.0, max(0.0, base + (moved if "large" in name or name == "default" else 0.0))) for name in TIMES}
    first = {name: None if draw.random() < 0.1 else draw.randint(1, 20) for name in TIMES}
    return QueryFigures(query_id=f"q{number}", text=text, relevant=draw.randint(1, 12), ndcg=ndcg, first=first)


def flow(text: str, title: str, draw: random.Random) -> Flow:
    """Return a flow of 24 documents, three of them relevant and one lost."""
    orders = []
    for _ in STEPS:
        order: list[int | None] = list(range(1, 25))
        draw.shuffle(order)
        orders.append(order)
    orders[0][0] = None
    places = tuple(
        FlowPlace(
            document_id=f"d{number}",
            title=f"{title} {number}",
            grade=(3, 1, 2)[number] if number < 3 else (0 if number % 2 else None),
            ranks=tuple(order[number] for order in orders),
        )
        for number in range(24)
    )
    return Flow(query_id="q0", text=text, columns=STEPS, places=places)


def failure(number: int, cause: str, title: str) -> FailureFigures:
    """Return a failure with ranks that fit its cause."""
    ranks: dict[str, tuple[int | None, ...]] = {
        "not_retrieved": (None, None, None, None, None),
        "fused_low": (None, 88, 74, 74, 74),
        "hurt_by:small": (3, 9, 5, 14, 16),
        "hurt_by:large": (12, 7, 8, 4, 15),
        "left_low": (20, 31, 22, 19, 13),
    }
    steps = dict(zip(("bm25", "dense", *STEPS), ranks[cause], strict=True))
    return FailureFigures(
        query_id=f"q{number}", document_id=f"d{number}", title=title, grade=3, cause=cause, ranks=steps
    )


def reliability(name: str = "sigmoid of large") -> Reliability:
    """Return ten bins, one of them empty, of a score that promises too much."""
    bins = tuple(
        ReliabilityBin(
            low=low / 10,
            high=(low + 1) / 10,
            pairs=0 if low == 4 else 40 + 90 * abs(low - 5),
            said=low / 10 + 0.05,
            so=(low / 10 + 0.05) ** 2,
        )
        for low in range(10)
    )
    return Reliability(
        name=name, pairs=sum(one.pairs for one in bins), ece=0.1234, bins=bins, unjudged_as_irrelevant=True
    )


def evaluation(
    queries: int = 225, texts: Sequence[str] = TEXTS, title: str = "A document on", **changes: Any
) -> Evaluation:
    """Return an evaluation of so many queries, with `texts` and `title` wherever text from outside can be."""
    draw = random.Random(7)
    causes = ("not_retrieved", "fused_low", "hurt_by:small", "hurt_by:large", "left_low", "not_retrieved", "left_low")
    made = Evaluation(
        evaluation_id="5f0c7b1e-8a7d-4c15-9a63-0f6f2f1d7c55",
        evaluated_at=1_780_000_000.0,
        collection="default",
        set_name="support",
        kind="judged",
        complete=False,
        profile="default",
        profile_body=Profile(),
        generation_id="default-1a2b3c",
        embedder="all-minilm-l6-v2",
        models={"small": "rerank-small@9f3a61", "large": "rerank-base@77ab02"},
        documents=1400,
        judged_pairs=1837,
        beside_daemon=False,
        systems=systems(),
        queries=tuple(query(number, f"{texts[number % len(texts)]} {number}", draw) for number in range(queries)),
        failures=tuple(failure(n, causes[n % len(causes)], title) for n in range(min(queries, 48))),
        flows=tuple(flow(texts[number % len(texts)], title, draw) for number in range(4)),
        reliability=(reliability(),),
    )
    return msgspec.structs.replace(made, **changes)
