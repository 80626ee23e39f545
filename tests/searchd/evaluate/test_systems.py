"""Systems of hand-made traces: what is told of a stage that a search would not have let finish."""

from __future__ import annotations

from searchd.evaluate.systems import cascade_systems
from searchd.evaluate.trace import Step, Trace
from searchd.evaluate.types import Question, Topic
from searchd.settings import Profile, Stage

PROFILE = Profile(stages=(Stage(name="small"),))


def trace(name: str, *, late: bool) -> Trace:
    """Return the way of a query through fusion and one stage."""
    steps = (Step("rrf", ("a", "b"), 1.0), Step("small", ("b", "a"), 500.0, 2, late=late))
    return Trace(Question(Topic(name, name), name, (), {}, {}), steps, {})


def test_a_stage_that_a_search_would_have_stopped_is_told() -> None:
    *_, prefix, whole = cascade_systems([trace("q1", late=True), trace("q2", late=False)], PROFILE)
    assert "small took longer than its budget in 1 of 2 queries" in prefix.note
    assert "took longer" in whole.note
    *_, prefix, whole = cascade_systems([trace("q1", late=False)], PROFILE)
    assert (prefix.note, whole.note) == ("", "the same as rrf + small")
