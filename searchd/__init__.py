"""The query daemon: retrieve, fuse, rerank, present, and say honestly what ran."""
