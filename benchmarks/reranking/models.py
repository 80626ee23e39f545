"""How fast one model is beside another: packaged names or folders of one's own, in turns, in each precision that runs here.

Takes names and natural groups; gives pairs per second, and each as a multiple of the first in the same precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.reranking.ours import Ours, house_stage
from benchmarks.reranking.timing import in_turns, pairs_per_s, ratio
from benchmarks.reranking.workload import CANDIDATES, Workload
from indexer.device import Device
from indexer.errors import ConfigError
from searchd.rerank.precision import precisions_of


def measure_models(names: Sequence[str], workload: Workload, rounds: int, device: Device) -> dict[str, Any]:
    """Return by precision, by model: `pairs_per_s` and `ratio`, of the first model's seconds to this one's."""
    found: dict[str, Any] = {}
    for precision in precisions_of(device):
        sides: dict[str, Ours] = {}
        for name in names:
            try:
                one = Ours(house_stage(precision, name), device)
            except ConfigError as error:
                print(f"{name} in {precision}: skipped: {error}", flush=True)
                continue
            if precision in one.path:
                sides[name] = one
        if names[0] not in sides:
            continue
        for one in sides.values():
            one.store(workload.groups)
            one.score(workload.groups[-1].query, workload.groups[-1].passages)  # memory, thread pools
        runs = in_turns({name: one.score for name, one in sides.items()}, workload.groups, rounds, float("inf"))
        found[precision] = {
            name: {"pairs_per_s": pairs_per_s(one, CANDIDATES), "ratio": ratio(runs[names[0]], one)}
            for name, one in runs.items()
        }
    return found
