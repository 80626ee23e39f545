"""The house models, from the corpora to fitted weights, by the product's own pipeline; goes on where it was stopped.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive torchrun --nproc-per-node 2 benchmarks/house/train.py WORK_DIR PHASE

One process with `python` instead of torchrun. Phases in their order: `prepare` the groups (in one process); `first`, `second`,
`near`, `mixed`, `wide`, `long` fit the base model, each from the one before; `average` (in one process) takes the mean of
the last three; `shrink` (in one process) and `small` distil it.
WORK_DIR/house keeps vectors, groups, held-out queries, checkpoints and models, WORK_DIR/house-faqs those of FAQs.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.house.neighbours import MOST_ASKED, neighbours
from indexer.weights import sha256_of
from searchd.rerank import house as packaged_models
from searchd.settings import Settings
from searchd.train.files import read_lines
from searchd.train.fit import FitSettings, fit
from searchd.train.losses import LossSettings
from searchd.train.material import read_corpus
from searchd.train.mining import MiningSettings
from searchd.train.options import TrainOptions, fit_settings
from searchd.train.prepare import GROUPS, PrepareSettings
from searchd.train.run import Runner
from searchd.train.shrink import every_second, shrunk
from searchd.train.types import Group

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = PrepareSettings(groups=11_000, held_out=150, mining=MiningSettings(negatives=5))
FAQS = PrepareSettings(groups=9_500, held_out=150, mining=MiningSettings(negatives=5))
NEGATIVES = 3
"""Of those mined, that a group of the last phases has: more questions teach more than more negatives."""
TURNS = {"wide": (0, 1, 2), "long": (3,), "small": (4, 5, 6)}
"""Of the choice of negatives: a phase of several meets each question as often."""
FIRST = FitSettings(
    groups_at_once=8, epochs=3, max_steps=150, learning_rate=4e-5, warmup_steps=40, schedule="constant_with_warmup",
    max_length=128, save_steps=50, loss=LossSettings(teacher=0.25, teacher_scale=12.0, absolute=0.1),
)  # fmt: skip
SECOND = replace(
    FIRST, max_steps=450, learning_rate=1e-4, seed=8, max_length=112, warmup_steps=20,
    loss=LossSettings(teacher=0.1, teacher_scale=15.0, absolute=0.05),
)  # fmt: skip
NEAR = replace(SECOND, max_steps=200, epochs=1, seed=9, max_length=96, loss=replace(SECOND.loss, teacher=0.0))
MIXED = replace(
    SECOND, max_steps=560, seed=10, max_length=96, schedule="linear", loss=replace(SECOND.loss, teacher=0.2)
)
WIDE = replace(
    MIXED, max_steps=400, epochs=1, seed=12, max_length=112, warmup_steps=100, save_steps=100,
    schedule="constant_with_warmup",
)  # fmt: skip
LONG = replace(WIDE, max_steps=0, seed=13, max_length=192, warmup_steps=40, schedule="linear")
SMALL = replace(MIXED, max_steps=2400, epochs=1, learning_rate=4e-4, seed=14, max_length=128, warmup_steps=60)
PHASES = {
    "first": FIRST, "second": SECOND, "near": NEAR, "mixed": MIXED, "wide": WIDE, "long": LONG, "small": SMALL
}  # fmt: skip
START = "7aeba5325bed65238a22f45cb398ba9941908cc9b28fa41da17b1c6d86bcf0b2"
"""The sha256 of the weights that `first` begins with: a `rerank-base` fitted from all-MiniLM-L6-v2 before this recipe was."""
START_AT = "f1f0e12:searchd/rerank/models/rerank-base.safetensors"
"""Where the repository's history has them."""
AVERAGED = ("mixed", "wide", "long")
ODD = re.compile(r"[_()\[\]<>{}=\\|@$]|::|->|\w/\w|\.\w|[a-z][A-Z]|^\W")
ODD_SENTENCE = re.compile(r"[_<>{}=\\|\n]|::")


def prepared(work: Path, settings: Settings) -> None:
    """Make the groups of both corpora, unless that is done."""
    parts = (
        ("house", TrainOptions(corpus=str(work / "corpus.jsonl"), prepare=DOCUMENTS)),
        (
            "house-faqs",
            TrainOptions(corpus=str(work / "faqs.jsonl"), judged=str(work / "meanings.jsonl"), prepare=FAQS),
        ),
    )
    for name, options in parts:
        (work / name).mkdir(parents=True, exist_ok=True)
        Runner(settings, options, work / name, said).prepared()


def begun(folder: Path) -> None:
    """Write the model that `first` begins with, unless it is there."""
    if folder.is_dir():
        return
    weights, draft = folder.with_name(f"{folder.name}.safetensors"), folder.with_name(f"{folder.name}.draft")
    with weights.open("wb") as out, contextlib.suppress(FileNotFoundError):  # no git
        subprocess.run(["git", "show", START_AT], cwd=ROOT, stdout=out, check=False)
    if sha256_of(weights) != START:
        sys.exit(f"{START_AT} is not in this checkout's history; clone the whole repository, or git fetch --unshallow")
    shutil.rmtree(draft, ignore_errors=True)
    packaged_models.write(packaged_models.joined(weights), draft)
    draft.rename(folder)


def groups_of(phase: str, work: Path) -> list[Group]:
    """Return what a phase learns from."""
    documents = list(read_lines(work / "house" / GROUPS, Group)) if phase != "near" else []
    if phase in ("first", "second"):
        return documents
    if phase == "near":
        return neighbours(read_corpus(work / "faqs.jsonl"), FAQS)
    faqs = list(read_lines(work / "house-faqs" / GROUPS, Group))
    natural = [one for one in (*faqs, *documents) if is_natural(one)]
    return [cut(one, turn) for turn in TURNS.get(phase, (0,)) for one in natural]


def is_natural(group: Group) -> bool:
    """Say whether somebody might have typed a query: names of functions and lines of code are left out."""
    if group.kind == "judged":
        return True
    if group.kind == "faq":
        return group.texts[0].count("?") <= MOST_ASKED
    if group.kind == "sentence":
        letters = sum(c.isalpha() or c == " " for c in group.query)
        return letters > 0.93 * len(group.query) and ODD_SENTENCE.search(group.query) is None
    return group.kind != "keywords" and ODD.search(group.query) is None and " " in group.query


def cut(group: Group, turn: int = 0) -> Group:
    """Return a group with its answer and some of its negatives, easy and hard ones alike; others at each turn."""
    count = len(group.texts)
    chosen = [0, *sorted(Random(f"{turn or ''}{group.query}").sample(range(1, count), min(NEGATIVES, count - 1)))]
    return replace(
        group,
        texts=tuple(group.texts[at] for at in chosen),
        teacher=tuple(group.teacher[at] for at in chosen),
        labels=tuple(group.labels[at] for at in chosen),
    )


def average(folders: Sequence[Path], folder: Path) -> None:
    """Write the mean of models that were fitted one from another, unless it is there.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022.
    """
    if (folder / "model").is_dir():
        return
    tensors = [load_file(one / "model.safetensors") for one in folders]
    mean = {name: torch.stack([one[name].double() for one in tensors]).mean(0).float() for name in tensors[0]}
    draft = folder / "model.draft"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(folders[0], draft)
    save_file(mean, draft / "model.safetensors", {"format": "pt"})
    draft.rename(folder / "model")


def said(step: str, done: int, whole: int) -> None:
    """Print a line per step, with the time."""
    if step.startswith("fitting") and done % 5 and done != whole:
        return
    print(f"{time.strftime('%H:%M:%S')} {step}: {done} of {whole}", flush=True)


def main() -> None:
    """Do one phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("phase", choices=("prepare", "average", "shrink", *PHASES))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    work, phase = arguments.work, arguments.phase
    settings = Settings(data_dir=str(work / "data"), threads=2 * arguments.threads)
    house = work / "house"
    start_of_all, fitted, small = house / "start", house / "average" / "model", house / "small-start"
    if phase == "prepare":
        house.mkdir(parents=True, exist_ok=True)
        begun(start_of_all)
        prepared(work, settings)
        return
    if phase == "average":
        average([house / name / "model" for name in AVERAGED], fitted.parent)
        return
    if phase == "shrink":
        shrunk(fitted, every_second(fitted), small, groups_of("small", work), SMALL)
        return
    here = replace(fit_settings(settings, PHASES[phase]), threads=arguments.threads)
    before = dict(zip(PHASES, (None, *PHASES), strict=False))[phase]
    start = small if phase == "small" else house / before / "model" if before else start_of_all
    teacher, layers = (fitted, every_second(fitted)) if phase == "small" else (None, ())
    groups = groups_of(phase, work)
    fit(start, groups, house / phase, here, lambda a, b, c: said(f"fitting {phase} {c}", a, b), teacher, layers)


if __name__ == "__main__":
    main()
