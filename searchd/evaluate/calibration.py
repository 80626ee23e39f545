"""Fits calibrations: scored pairs of a stage -> a curve that gives probabilities, and honest figures of how good it is.

Every figure is of held-out pairs, in folds over queries: pairs of one query are alike, and over pairs a curve would be
measured on what it was fitted to. Where labels do not separate, nothing is fitted and the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.errors import InputError
from searchd.calibration import LEAST, Calibration, Curve, StageCalibration, Ties, enabled_stages
from searchd.evaluate.bootstrap import CONFIDENCE, SEED
from searchd.evaluate.reliability import reliability
from searchd.evaluate.scored_pairs import Pairs
from searchd.evaluate.types import JudgedData
from searchd.settings import Profile

Method = Literal["auto", "platt", "isotonic"]
FOLDS = 5
MIN_PAIRS = 30
"""Of relevant ones, and of others."""
MIN_QUERIES = 20
MIN_RELEVANT_QUERIES = 10
"""With a relevant pair: two in each fold."""
MIN_AUC = 0.6
AUC_ROUNDS = 1000


def calibrate(
    pairs: Mapping[str, Pairs],
    data: JudgedData,
    profile: Profile,
    ties: Ties,
    *,
    profile_name: str,
    complete: bool,
    relevant_from: int,
    method: Method,
    now: float,
) -> Calibration:
    """Return the calibration of a profile, from `scored_pairs` of its stages.

    Raises: InputError (`does_not_separate`) if the last stage's labels do not; that of an earlier one goes into `refused`.
    """
    *earlier, last = [stage.name for stage in enabled_stages(profile)]
    fitted = {last: fit(last, pairs.get(last), method)}
    refused = {}
    for name in reversed(earlier):
        if name not in pairs:
            continue  # it decided on nothing that is judged
        try:
            fitted[name] = fit(name, pairs[name], method)
        except InputError as error:
            refused[name] = str(error)
    return Calibration(
        collection=data.collection,
        profile=profile_name,
        set_name=data.name,
        fitted_at=now,
        relevant_from=relevant_from,
        unjudged_as_irrelevant=complete,
        stages=fitted,
        refused=refused,
        ties=ties,
    )


def fit(stage: str, pairs: Pairs | None, method: Method = "auto") -> StageCalibration:
    """Return the curve of a stage and its cross-validated figures. Raises: InputError (`does_not_separate`), saying why."""
    pairs = enough(stage, pairs)
    held_out = {name: out_of_fold(pairs, FITS[name]) for name in FITS if method in ("auto", name)}
    losses = {name: log_loss(found, pairs.relevant) for name, found in held_out.items()}
    chosen = min(losses, key=lambda name: losses[name])  # of equals Platt's, which is two numbers
    said = held_out[chosen]
    area, low, high = auc_interval(said, pairs)
    if area <= MIN_AUC or low <= 0.5:
        raise no_separation(
            stage,
            f"of held-out pairs a relevant one scores higher than another in {area:.0%} of cases [{low:.0%}, {high:.0%}]; "
            f"more than {MIN_AUC:.0%} is needed, and an interval above 50%",
        )
    if platt(pairs.scores, pairs.relevant).slope <= 0:
        raise no_separation(stage, "its score does not rise with relevance")
    bins, ece = reliability(said, pairs.relevant)
    raw_bins, raw_ece = reliability(pairs.uncalibrated, pairs.relevant)
    return StageCalibration(
        curve=FITS[chosen](pairs.scores, pairs.relevant),
        pairs=len(pairs),
        queries=len(np.unique(pairs.queries)),
        relevant=float(pairs.relevant.mean()),
        ece=ece,
        raw_ece=raw_ece,
        log_loss=losses,
        auc=area,
        auc_ci=(low, high),
        bins=bins,
        raw_bins=raw_bins,
    )


def enough(stage: str, pairs: Pairs | None) -> Pairs:
    """Return pairs that are enough to fit and to hold some out. Raises: InputError, saying what is missing."""
    if pairs is None or not len(pairs):
        raise no_separation(stage, "nothing that it decided on is judged")
    relevant = int(pairs.relevant.sum())
    queries, of_relevant = len(np.unique(pairs.queries)), len(np.unique(pairs.queries[pairs.relevant]))
    counts = (
        (relevant, MIN_PAIRS, "relevant pairs"),
        (len(pairs) - relevant, MIN_PAIRS, "pairs that are judged and not relevant"),
        (queries, MIN_QUERIES, "queries"),
        (of_relevant, MIN_RELEVANT_QUERIES, "queries with a relevant pair"),
    )
    missing = [f"{found} {what}, at least {least} are needed" for found, least, what in counts if found < least]
    if missing:
        raise no_separation(stage, "there are too few: " + "; ".join(missing))
    return pairs


def no_separation(stage: str, why: str) -> InputError:
    """Return the refusal of a stage."""
    return InputError(f"stage {stage} cannot be calibrated: {why}", code="does_not_separate")


def out_of_fold(
    pairs: Pairs, fitting: Callable[[NDArray[np.float64], NDArray[np.bool_]], Curve]
) -> NDArray[np.float64]:
    """Return of each pair the probability by a curve that was fitted without its query."""
    folds = folds_of(pairs)
    found = np.empty(len(pairs), dtype=np.float64)
    for fold in range(FOLDS):
        held = folds == fold
        found[held] = fitting(pairs.scores[~held], pairs.relevant[~held]).probabilities(pairs.scores[held])
    return found


def folds_of(pairs: Pairs) -> NDArray[np.int64]:
    """Return the fold of each pair: whole queries, those with a relevant pair spread evenly, always the same ones."""
    queries, places = np.unique(pairs.queries, return_inverse=True)
    having = np.zeros(len(queries), dtype=bool)
    having[places[pairs.relevant]] = True
    order = np.random.default_rng(SEED).permutation(len(queries))
    order = order[np.argsort(having[order], kind="stable")]
    folds = np.empty(len(queries), dtype=np.int64)
    folds[order] = np.arange(len(queries)) % FOLDS
    return folds[places]


def platt(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> Curve:
    """Return Platt's sigmoid: logistic regression on the score, hardly regularised."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = float(scores.mean()), float(scores.std()) or 1.0
    model = LogisticRegression(C=1e6).fit(((scores - middle) / spread)[:, None], relevant)
    slope = float(model.coef_[0, 0]) / spread
    return Curve(method="platt", slope=slope, intercept=float(model.intercept_[0]) - slope * middle)


def isotonic(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> Curve:
    """Return the rising step curve that fits best, by its breakpoints."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=LEAST, y_max=1 - LEAST, out_of_bounds="clip").fit(scores, relevant)
    return Curve(method="isotonic", x=tuple(model.X_thresholds_.tolist()), y=tuple(model.y_thresholds_.tolist()))


FITS: dict[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], Curve]] = {"platt": platt, "isotonic": isotonic}


def log_loss(said: NDArray[np.float64], so: NDArray[np.bool_]) -> float:
    """Return the mean negative log likelihood of what was so; `said` is within (0, 1)."""
    return float(-np.where(so, np.log(said), np.log1p(-said)).mean())


def auc_interval(said: NDArray[np.float64], pairs: Pairs) -> tuple[float, float, float]:
    """Return how often a relevant pair has the higher probability, and its 95 % interval by bootstrap over queries."""
    queries, places = np.unique(pairs.queries, return_inverse=True)
    random = np.random.default_rng(SEED)
    drawn = []
    for _ in range(AUC_ROUNDS):
        times = np.bincount(random.integers(0, len(queries), len(queries)), minlength=len(queries))
        drawn.append(auc(said, pairs.relevant, times[places].astype(np.float64)))
    edge = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, (edge, 1 - edge))
    return auc(said, pairs.relevant, np.ones(len(pairs))), float(low), float(high)


def auc(said: NDArray[np.float64], so: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Return the weighted area under the ROC curve; ties count half; NaN if one class has no weight.

    Source: Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982.
    """
    _, places = np.unique(said, return_inverse=True)
    yes = np.bincount(places, weights * so)
    no = np.bincount(places, weights * ~so)
    below = np.cumsum(no) - no
    whole = yes.sum() * no.sum()
    return float((yes * (below + no / 2)).sum() / whole) if whole else float("nan")
