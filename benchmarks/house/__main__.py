"""The house models by one command, from Debian's archive to packaged weights. Each step goes on where it was stopped.

    python -m benchmarks.house WORK_DIR [--processes N]

Takes the packages of `packages.txt`, about 2 GB to download; the recipe's figures are in benchmarks/house/README.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALONE = ("average", "shrink")
"""Phases of one process."""


def main() -> None:
    """Make the corpus, fit the base model, distil the small one, package both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="processes that fit together, a thread each")
    arguments = parser.parse_args()
    work: Path = arguments.work
    if not (work / "corpus.jsonl").is_file():
        run(sys.executable, HERE / "corpus.py", work)
    if not (work / "meanings.jsonl").is_file():
        run(sys.executable, HERE / "faqs.py", work)
    run(sys.executable, HERE / "train.py", work, "prepare")
    several = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", arguments.processes]
    for phase in ("first", "second", "near", "mixed", "wide", "long", "average", "shrink", "small"):
        run(*([sys.executable] if phase in ALONE else several), HERE / "train.py", work, phase)
    for folder, name in (("average", "rerank-base"), ("small", "rerank-small")):
        run(sys.executable, HERE / "package.py", work / "house" / folder / "model", name)


def run(*command: object) -> None:
    """Run a step with one thread a process: threads that share cores with others' wait for each other at every layer."""
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([str(part) for part in command], check=True, env=os.environ | threads)


if __name__ == "__main__":
    main()
