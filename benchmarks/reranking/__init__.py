"""The parts of `benchmarks/rerank.py`: what is scored, by whom, and how it is timed."""
