"""The house models, from the corpus to fitted weights, by the product's own pipeline; goes on where it was stopped.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive torchrun --nproc-per-node 2 benchmarks/house/train.py CORPUS FOLDER

One process with `python` instead of torchrun. `--prepare` ends after the groups, `--small` distils rerank-small from
FOLDER/base/model. FOLDER keeps vectors, groups, held-out queries, checkpoints and models.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from searchd.settings import Settings
from searchd.train.base import exported
from searchd.train.files import read_lines
from searchd.train.fit import FitSettings, fit
from searchd.train.losses import LossSettings
from searchd.train.mining import MiningSettings
from searchd.train.options import TrainOptions, fit_settings
from searchd.train.prepare import GROUPS, HELD_OUT, PrepareSettings
from searchd.train.run import Runner
from searchd.train.shrink import shrunk
from searchd.train.types import Group

LAYERS = (1, 3, 5)
PREPARE = PrepareSettings(groups=11_000, held_out=150, mining=MiningSettings(negatives=5))
FIT = FitSettings(
    groups_at_once=8,
    epochs=3,
    learning_rate=1e-4,
    warmup_steps=40,
    schedule="constant_with_warmup",
    max_length=112,
    save_steps=50,
    loss=LossSettings(teacher=0.1, teacher_scale=15.0, absolute=0.05),
)
DISTIL = replace(FIT, learning_rate=2e-4)


def said(step: str, done: int, whole: int) -> None:
    """Print a line per step, with the time."""
    if step.startswith(("fitting", "distilling")) and done % 5 and done != whole:
        return
    print(f"{time.strftime('%H:%M:%S')} {step}: {done} of {whole}", flush=True)


def main() -> None:
    """Prepare, then fit the base model, or distil the small one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    settings = Settings(data_dir=str(folder / "data"), threads=2 * arguments.threads)
    options = TrainOptions(corpus=str(arguments.corpus), prepare=PREPARE)
    runner = Runner(settings, options, folder, said)
    if arguments.prepare or not ((folder / GROUPS).is_file() and (folder / HELD_OUT).is_file()):
        runner.prepared()
        if arguments.prepare:
            return
    groups = list(read_lines(folder / GROUPS, Group))
    if arguments.small:
        fitted = folder / "base" / "model"
        start = shrunk(fitted, LAYERS, folder / "small-start")
        here = replace(fit_settings(settings, DISTIL), threads=arguments.threads)
        fit(start, groups, folder / "small", here, lambda a, b, c: said(f"distilling {c}", a, b), fitted, LAYERS)
        return
    here = replace(fit_settings(settings, FIT), threads=arguments.threads)
    fit(exported("rerank-base", folder), groups, folder / "base", here, lambda a, b, c: said(f"fitting {c}", a, b))


if __name__ == "__main__":
    main()
