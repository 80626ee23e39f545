"""Which stages run a model that was trained on the very judgments it is measured on: what looks good there is no evidence.

Takes stages and JudgedData, reads the cards of trained models; `sentences.py` words it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from searchd.evaluate.types import JudgedData
from searchd.settings import Settings, Stage
from searchd.train import registry
from searchd.train.registry import Card
from searchd.train.served import FITTED

SET: Final = "set"
FILE: Final = "file"
"""Judgments of a file: nobody knows whether they are of the set that is measured."""


def learned_from(settings: Settings, stages: Iterable[Stage], data: JudgedData) -> dict[str, tuple[str, str]]:
    """Return by stage its trained model, and whether that learned from this set or from a file; others are left out."""
    found = {}
    for stage in stages:
        card = card_of(settings, stage)
        if card is None:
            continue
        if (data.collection, data.name) in card.learned:
            found[stage.name] = (f"{card.name} {card.version}", SET)
        elif registry.OF_A_FILE in card.learned:
            found[stage.name] = (f"{card.name} {card.version}", FILE)
    return found


def card_of(settings: Settings, stage: Stage) -> Card | None:
    """Return the card of the trained model that a stage runs, None if it runs another."""
    own = registry.promoted(settings, stage.model) if stage.kind == FITTED else None
    return registry.card_in(own or Path(stage.model).expanduser())
