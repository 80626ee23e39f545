"""Models that learned from what they are measured on: found by their cards, and said by eval, its report, tune, calibrate."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from searchd.evaluate.learned import FILE, SET, learned_from
from searchd.evaluate.sentences import learned_sentences, warnings
from searchd.settings import Settings, Stage
from searchd.train import registry
from searchd.train.registry import OF_A_FILE, Card
from tests.searchd.evaluate.small_set import small_set
from tests.searchd.train.test_registry import card
from tests.web.evaluations import evaluation

DATA = small_set()
LARGE = Stage(name="large", model="rerank-base")


def kept(tmp_path: Path, made: Card) -> Settings:
    """Return settings with this model in use."""
    settings = Settings(data_dir=str(tmp_path / "data"))
    (tmp_path / "made").mkdir()
    registry.promote(settings, made.name, registry.store(settings, tmp_path / "made", made).version)
    return settings


@pytest.mark.parametrize(
    ("learned", "kinds", "found"),
    [
        (((DATA.collection, DATA.name),), {"judged": 9}, {"large": ("rerank-base v1", SET)}),
        ((OF_A_FILE, (DATA.collection, DATA.name)), {"judged": 9}, {"large": ("rerank-base v1", SET)}),
        ((OF_A_FILE,), {"judged": 9}, {"large": ("rerank-base v1", FILE)}),
        ((), {"judged": 9}, {"large": ("rerank-base v1", FILE)}),  # a card from before they were named
        (((DATA.collection, "another"), ("another", DATA.name)), {"judged": 9}, {}),
        ((), {"faq": 9}, {}),
    ],
)
def test_a_stage_is_named_if_its_model_in_use_learned_from_the_set(
    tmp_path: Path,
    learned: tuple[tuple[str, str], ...],
    kinds: dict[str, int],
    found: dict[str, tuple[str, str]],
) -> None:
    settings = kept(tmp_path, msgspec.structs.replace(card(0.5, 0.6), learned_from=learned, kinds=kinds))
    small = Stage(name="small", model="rerank-small")
    assert learned_from(settings, [small, LARGE], DATA) == found
    by_folder = msgspec.structs.replace(LARGE, model=str(registry.folder_of(settings, "rerank-base", "v1")))
    assert learned_from(settings, [by_folder], DATA) == found
    registry.rollback(settings, "rerank-base")
    assert learned_from(settings, [small, LARGE], DATA) == {}


def test_terminal_and_report_say_that_its_figures_are_better_than_on_new_queries() -> None:
    learned = {"large": ("rerank-base v2", SET)}
    said = "large's model rerank-base v2 learned from judged set 'support': its figures here are better than on new queries"
    assert learned_sentences(learned, "support") == [said]
    assert said in warnings(evaluation(8, learned_from=learned))
    assert said not in warnings(evaluation(8))
    (of_file,) = learned_sentences({"large": ("rerank-base v2", FILE)}, "support")
    assert "learned from judgments of a file" in of_file
