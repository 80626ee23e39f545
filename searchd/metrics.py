"""Prometheus metrics of the daemon, in one registry; `/metrics` serves them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 10.0)

STAGE_SECONDS = Histogram(
    "searchd_stage_seconds", "Time of each system and stage of a search", ["stage"], buckets=_BUCKETS, registry=REGISTRY
)
SEARCHES = Counter("searchd_searches", "Searches answered", ["outcome"], registry=REGISTRY)
REQUESTS = Counter("searchd_requests", "HTTP requests answered", ["method", "route", "status"], registry=REGISTRY)
JOBS = Gauge("searchd_jobs", "Jobs of the outbox by state", ["state"], registry=REGISTRY)
DOCUMENTS = Gauge("searchd_documents", "Documents by collection", ["collection"], registry=REGISTRY)
PASSAGES = Gauge("searchd_passages", "Passages of the live generation by collection", ["collection"], registry=REGISTRY)
DEVICE_QUEUE = Gauge("searchd_device_queue", "Model work waiting for the device", registry=REGISTRY)
