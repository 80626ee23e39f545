"""The benchmark of a GPU comes to its end where there is none: nobody would see before one is lent."""

from __future__ import annotations

from benchmarks.reranking.gpu import SHAPES, measure_gpu


def test_a_rehearsal_of_the_gpu_benchmark_measures_every_model_and_the_cascade() -> None:
    said: list[str] = []
    report = measure_gpu(said.append, rehearse=True)
    assert report["models"].keys() == SHAPES.keys()
    for one in report["models"].values():
        assert "skipped" not in one, said
        assert one["natural"]["pairs"] > 0
        assert one["one_query_ms"] > 0
    assert report["cascade_ms"] > 0
