"""What is chosen and what is recommended, on made trials: each verdict, the rule of choice, how many queries tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from searchd.evaluate.replay import Values
from searchd.evaluate.select import Held, chosen, fixed, folds_of, gain, held_out, others_of
from searchd.evaluate.trial import Trial
from searchd.evaluate.verdict import LEAST_QUERIES, POWER, SURE, WORTH, queries_needed, rounded, verdict_of
from searchd.settings import Profile, Stage

OFF = Profile(stages=())
LINEAR = Profile(fusion="linear", stages=())
CHEAP = Profile(stages=(Stage(name="cheap", model="cheap"),))
DEAR = Profile(stages=(Stage(name="dear", model="dear"),))
COUNT = 200
NOISE = np.random.default_rng(4).normal(0, 0.1, COUNT)
NOISE -= NOISE.mean()
BASE = np.full(COUNT, 0.5)


def trial(profile: Profile, ndcg: Values, ms: float = 10.0) -> Trial:
    return Trial(profile, ndcg, np.full(len(ndcg), ms), (ms,) * len(profile.stages), np.zeros(len(ndcg)))


def held(profile: Profile, ndcg: Values) -> Held:
    return fixed(trial(profile, ndcg), folds_of(len(ndcg), 7))


def test_what_beats_the_present_profile_on_held_out_queries_replaces_it() -> None:
    found = verdict_of(trial(CHEAP, BASE), True, held(DEAR, BASE + 0.05 + NOISE), held(OFF, BASE - 0.05 + NOISE))
    assert (found.kind, found.recommended.profile) == ("change", DEAR)
    found = verdict_of(trial(OFF, BASE), True, held(LINEAR, BASE + 0.05 + NOISE), held(LINEAR, BASE + 0.05 + NOISE))
    assert (found.kind, found.recommended.profile) == ("change", LINEAR)


def test_what_is_better_within_noise_does_not() -> None:
    found = verdict_of(trial(CHEAP, BASE), True, held(DEAR, BASE + 0.008 + NOISE), held(OFF, BASE - 0.05 + NOISE))
    assert (found.kind, found.recommended.profile, found.more) == ("keep", CHEAP, None)
    found = verdict_of(trial(CHEAP, BASE), True, held(DEAR, BASE + 0.013 + NOISE), held(OFF, BASE - 0.05 + NOISE))
    assert found.kind == "keep"
    assert found.more == rounded(queries_needed(0.013 + NOISE) - COUNT)
    found = verdict_of(trial(OFF, BASE), True, held(DEAR, BASE + 0.005 + NOISE), held(OFF, BASE))
    assert (found.kind, found.recommended.profile) == ("keep", OFF)


def test_rerank_off_is_best_where_it_beats_the_cascade() -> None:
    off = held(OFF, BASE + 0.05 + NOISE)
    assert verdict_of(trial(CHEAP, BASE), True, off, off).kind == "off"
    as_good = held(DEAR, BASE + 0.055 + NOISE[::-1])
    found = verdict_of(trial(CHEAP, BASE), True, as_good, off)
    assert (found.kind, found.recommended.profile) == ("off", OFF)


def test_a_cascade_that_beats_rerank_off_as_well_is_better_than_off() -> None:
    found = verdict_of(trial(CHEAP, BASE), True, held(DEAR, BASE + 0.15 + NOISE), held(OFF, BASE + 0.05 - NOISE))
    assert (found.kind, found.recommended.profile) == ("change", DEAR)


def test_rerank_off_is_best_where_it_was_chosen_and_loses_nothing_that_counts() -> None:
    off = held(OFF, BASE - 0.001 + NOISE / 20)
    found = verdict_of(trial(CHEAP, BASE), True, off, off)
    assert (found.kind, found.off_over_base.low > -WORTH) == ("off", True)
    unchosen = verdict_of(trial(CHEAP, BASE), True, held(DEAR, BASE + NOISE), off)
    assert unchosen.kind != "off"


def test_what_cannot_be_told_yet_says_how_many_queries_would_tell() -> None:
    off = held(OFF, BASE - 0.005 + NOISE)
    found = verdict_of(trial(CHEAP, BASE), True, off, off)
    assert (found.kind, found.recommended.profile) == ("too_few", CHEAP)
    assert found.more == rounded(queries_needed(off.ndcg - BASE) - COUNT)
    promising = held(DEAR, BASE + 0.013 + NOISE)
    assert verdict_of(trial(OFF, BASE), True, promising, held(OFF, BASE)).kind == "too_few"


def test_under_twenty_queries_nothing_is_recommended_however_large_the_difference() -> None:
    few = LEAST_QUERIES - 1
    better = held(DEAR, BASE[:few] + 0.3 + NOISE[:few])
    found = verdict_of(trial(OFF, BASE[:few]), True, better, held(OFF, BASE[:few]))
    assert (found.kind, found.more) == ("too_few", 1)
    enough = held(DEAR, BASE[: few + 1] + 0.3 + NOISE[: few + 1])
    assert verdict_of(trial(OFF, BASE[: few + 1]), True, enough, held(OFF, BASE[: few + 1])).kind == "change"


def test_a_present_profile_over_the_budget_cannot_stay() -> None:
    off = held(OFF, BASE)
    assert verdict_of(trial(OFF, BASE), False, held(DEAR, BASE + 0.008 + NOISE), off).kind == "off"
    assert verdict_of(trial(OFF, BASE), False, held(DEAR, BASE + 0.05 + NOISE), off).kind == "change"


def test_the_queries_needed_are_those_of_the_paired_test() -> None:
    apart = np.array([0.3, -0.1, 0.2, 0.0, 0.1] * 10)
    expected = ((1.96 + 0.8416) * apart.std(ddof=1) / 0.1) ** 2
    assert queries_needed(apart) == pytest.approx(expected, abs=1)
    assert queries_needed(apart - 0.1) == pytest.approx(expected * (0.1 / WORTH) ** 2, rel=0.01)
    assert queries_needed([]) == LEAST_QUERIES
    assert (round(SURE, 3), round(POWER, 3)) == (1.96, 0.842)
    assert [rounded(count) for count in (-5, 7, 83, 184, 1234)] == [1, 7, 83, 190, 1300]


def test_that_many_queries_do_tell_in_four_of_five_cases() -> None:
    random = np.random.default_rng(11)
    needed = math.ceil(((SURE + POWER) * 0.1 / 0.03) ** 2)
    drawn = random.normal(0.03, 0.1, (2000, needed))
    told = np.abs(drawn.mean(axis=1)) > SURE * drawn.std(axis=1, ddof=1) / math.sqrt(needed)
    assert told.mean() == pytest.approx(0.8, abs=0.04)


def test_of_all_within_a_standard_error_of_the_best_the_cheapest_is_chosen() -> None:
    rows = np.arange(COUNT)
    best, near = trial(DEAR, BASE + NOISE, 100), trial(CHEAP, BASE - 0.005, 20)
    far = trial(OFF, BASE - 0.02, 1)
    assert chosen([best, near, far], rows, OFF).profile == CHEAP
    assert chosen([best, far], rows, OFF).profile == DEAR
    everywhere = trial(CHEAP, BASE + NOISE - 0.001, 20)  # surely worse, if only a little
    assert chosen([best, everywhere], rows, OFF).profile == DEAR


def test_without_need_nothing_is_changed() -> None:
    rows = np.arange(COUNT)
    same_cost = [trial(LINEAR, BASE + NOISE, 10.2), trial(OFF, BASE - 0.001, 10.0)]
    assert chosen(same_cost, rows, OFF).profile == OFF
    assert chosen(same_cost, rows, CHEAP).profile == OFF
    assert chosen(same_cost, rows, LINEAR).profile == LINEAR


def test_every_query_is_held_out_once_and_had_no_part_in_its_choice() -> None:
    folds = folds_of(23, 7)
    assert sorted(np.concatenate(folds).tolist()) == list(range(23))
    one, other = np.zeros(23), np.zeros(23)
    one[folds[0]] = 1.0  # good on the fold alone: those who see the rest cannot know
    tried = [trial(LINEAR, one), trial(OFF, other + 0.1)]
    found = held_out([tried] * 5, tried, folds, OFF, lambda trial: True)
    assert found is not None
    assert found.ndcg[folds[0]] == pytest.approx(0.1)
    assert found.ndcg[others_of(folds[0], 23)].min() >= 0.0
    assert held_out([tried] * 5, tried, folds, OFF, lambda trial: bool(trial.profile.stages)) is None


def test_noise_is_recommended_no_more_often_than_chance_allows() -> None:
    """The best of thirty cascades of noise seems to gain much; held-out queries say that it does not."""
    kinds, inside, outside = [], [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        off = trial(OFF, random.uniform(0, 1, 40), 1.0)
        tried = [off, *(trial(DEAR, off.ndcg + random.normal(0, 0.2, 40)) for _ in range(30))]
        folds = folds_of(40, seed)
        choice = held_out([tried] * 5, tried, folds, OFF, lambda one: True)
        assert choice is not None
        kinds.append(verdict_of(off, True, choice, fixed(off, folds)).kind)
        inside.append(max(float((one.ndcg - off.ndcg).mean()) for one in tried))
        outside.append(float((choice.ndcg - off.ndcg).mean()))
    assert kinds.count("change") <= 3
    assert np.mean(inside) > 0.05 and abs(np.mean(outside)) < 0.01


def test_the_interval_of_two_fixed_configurations_is_that_of_their_mean_difference() -> None:
    folds = folds_of(COUNT, 7)
    found = gain(fixed(trial(OFF, BASE), folds), fixed(trial(DEAR, BASE + 0.05 + NOISE), folds))
    assert found.mean == pytest.approx(0.05)
    assert found.high - found.mean == pytest.approx(1.96 * NOISE.std() / math.sqrt(COUNT), rel=0.1)
    same = fixed(trial(OFF, BASE), folds)
    assert (gain(same, same).low, gain(same, same).high) == (0.0, 0.0)


def test_the_interval_of_a_choice_is_wider_the_more_there_was_to_choose_from() -> None:
    random, folds = np.random.default_rng(2), folds_of(40, 7)
    off = trial(OFF, random.uniform(0, 1, 40), 1.0)
    tried = [off, *(trial(DEAR, off.ndcg + random.normal(0, 0.2, 40)) for _ in range(30))]
    widths = []
    for some in (tried[1:2], tried[1:]):
        choice = held_out([some] * 5, some, folds, OFF, lambda one: True)
        assert choice is not None
        found = gain(fixed(off, folds), choice)
        widths.append(found.high - found.low)
    assert widths[1] > 1.2 * widths[0]
