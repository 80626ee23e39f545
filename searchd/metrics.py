"""Counters and histograms of searches and rerank calls for Prometheus, in a registry per opened data folder."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from searchd.types import SearchResponse, StageReport

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class SearchMetrics:
    """What the pipeline counts. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._whole = Histogram(
            "searchd_search_seconds", "Time of whole searches", ["profile"], buckets=SECONDS, registry=self.registry
        )
        self._parts = Histogram(
            "searchd_part_seconds",
            "Time of each part of a search: retrieve, fuse, load, rerank, present, each system and each stage",
            ["part"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._statuses = Counter(
            "searchd_reports", "How systems and stages ended", ["name", "status"], registry=self.registry
        )
        self._searches = Counter(
            "searchd_searches", "Searches by outcome: complete, degraded, failed", ["outcome"], registry=self.registry
        )
        self._reranks = Counter(
            "searchd_reranks", "Rerank calls by outcome: complete, degraded", ["outcome"], registry=self.registry
        )
        for outcome in ("complete", "degraded", "failed"):
            self._searches.labels(outcome)

    def answered(self, response: SearchResponse) -> None:
        """Count an answer."""
        self._searches.labels("degraded" if response.degraded else "complete").inc()
        self._whole.labels(response.profile).observe(response.took_ms / 1000)
        for part, ms in response.timings_ms.items():
            self._parts.labels(part).observe(ms / 1000)
        for report in (*response.systems, *response.stages):
            self._statuses.labels(report.name, report.status).inc()

    def reranked(self, reports: Sequence[StageReport]) -> None:
        """Count a call that reranked bare texts; its stages are counted among those of searches."""
        whole = all(report.status == "full" for report in reports)
        self._reranks.labels("complete" if whole else "degraded").inc()
        for report in reports:
            self._statuses.labels(report.name, report.status).inc()

    def failed(self) -> None:
        """Count a search that ended without an answer for no fault of the asker."""
        self._searches.labels("failed").inc()
