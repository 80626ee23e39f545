"""Grades beside the hits of a search: for a judge who chose a set, what its documents have for this query so far."""

from __future__ import annotations

from indexer.store import judged
from indexer.store.judged import JUDGED
from searchd.api.principals import Caller
from searchd.judge import judging, wording
from searchd.services import Services
from web.judge_contexts import Grading
from web.state import SearchState


def grading_of(services: Services, caller: Caller, state: SearchState) -> Grading | None:
    """Return what a judge is offered beside the hits; None for who may not judge, and where there is no set."""
    if not caller.may_judge:
        return None
    with services.engine.database.read() as session:
        sets = {one.name: one for one in judged.of_collection(session, state.collection) if one.kind == JUDGED}
        chosen = sets.get(state.judge)
        known = judged.queries(session, chosen.set_id) if chosen and state.q else ()
        query = wording.find(state.q, known)
        grades = judging.grades_of(session, chosen, query.query_id) if chosen and query else {}
    back = state.url(page=state.page)
    return Grading(tuple(sets), chosen.name if chosen else "", grades, back) if sets else None
