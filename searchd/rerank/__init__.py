"""The reranking cascade: one small protocol, one file per kind of model."""
