"""Counters and histograms of searches, rerank calls and rerankers for Prometheus, in a registry per opened data folder.

What is a state (queues, documents, which path runs) is looked at anew for every answer of `/metrics`: `api/status.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from searchd.types import SearchResponse, StageReport

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


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
        self._rerank_stages = Histogram(
            "searchd_rerank_stage_seconds",
            "Time of each stage of a rerank call; those of searches are in searchd_part_seconds",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._saved = Counter(
            "searchd_pairs_saved",
            "Pairs that stages of searches did not have to score, their order being settled",
            ["stage"],
            registry=self.registry,
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
            if report.saved:
                self._saved.labels(report.name).inc(report.saved)

    def reranked(self, reports: Sequence[StageReport]) -> None:
        """Count a call that reranked bare texts; how its stages ended is counted among those of searches."""
        whole = all(report.status == "full" for report in reports)
        self._reranks.labels("complete" if whole else "degraded").inc()
        for report in reports:
            self._statuses.labels(report.name, report.status).inc()
            self._rerank_stages.labels(report.name).observe(report.ms / 1000)

    def failed(self) -> None:
        """Count a search that ended without an answer for no fault of the asker."""
        self._searches.labels("failed").inc()


class LogMetrics:
    """What the query log counts. Thread-safe."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._clicks = Counter("searchd_clicks", "Events of opened documents that were taken", registry=self.registry)
        self._drops = Counter(
            "searchd_log_drops", "Searches and clicks that could not be kept", ["sort"], registry=self.registry
        )
        for sort in ("search", "click"):
            self._drops.labels(sort)

    def clicked(self, count: int) -> None:
        """Count events that were taken."""
        self._clicks.inc(count)

    def dropped(self, sort: str) -> None:
        """Count a search or a click that is lost to the log."""
        self._drops.labels(sort).inc()


class RerankMetrics:
    """What rerankers count, by kind and name of the model. Thread-safe.

    Names come from the settings: what nobody named is counted as `other`, so that series do not grow without end.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._labels: dict[str, tuple[str, str]] = {}
        self._pairs = self._counter("searchd_rerank_pairs", "Pairs of query and passage that were scored here")
        self._tokens = self._counter("searchd_rerank_tokens", "Tokens of their batches: real or padding", "sort")
        self._retries = self._counter(
            "searchd_rerank_memory_retries", "Batches that ran out of the device's memory and went again in halves"
        )
        self._lookups = self._counter(
            "searchd_score_cache_lookups", "Scores that were looked up before scoring: hit or miss", "outcome"
        )
        self._batches = self._histogram("searchd_rerank_batch_pairs", "Pairs in a batch", PAIRS)
        self._waits = self._histogram(
            "searchd_rerank_wait_seconds", "How long the pair of a batch waited that waited longest", SECONDS
        )

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(name, said, ["kind", "model", *labels], registry=self.registry)

    def _histogram(self, name: str, said: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, said, ["kind", "model"], buckets=buckets, registry=self.registry)

    def named(self, fingerprint: str, kind: str, model: str) -> None:
        """Say what a model is called from now on."""
        self._labels[fingerprint] = (kind, model)

    def labels_of(self, fingerprint: str) -> tuple[str, str]:
        """Return kind and name of a model, as they are counted."""
        return self._labels.get(fingerprint, ("other", "other"))

    def ran(self, fingerprint: str, *, pairs: int, tokens: int, padding: int, waited_s: float) -> None:
        """Count a batch."""
        labels = self.labels_of(fingerprint)
        self._pairs.labels(*labels).inc(pairs)
        self._tokens.labels(*labels, "real").inc(tokens)
        self._tokens.labels(*labels, "padding").inc(padding)
        self._batches.labels(*labels).observe(pairs)
        self._waits.labels(*labels).observe(waited_s)

    def ran_out_of_memory(self, fingerprint: str) -> None:
        """Count a batch that did not fit."""
        self._retries.labels(*self.labels_of(fingerprint)).inc()

    def looked_up(self, fingerprint: str, hits: int, misses: int) -> None:
        """Count what was known of one call's scores."""
        labels = self.labels_of(fingerprint)
        self._lookups.labels(*labels, "hit").inc(hits)
        self._lookups.labels(*labels, "miss").inc(misses)
