"""Cross-encoders of every family, tiny and random: their scores are those of plain transformers, one pair at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from indexer.errors import ConfigError
from indexer.weights import house_folder
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.loading import own_code_refusal, refusals
from searchd.rerank.local import LocalReranker
from searchd.rerank.pair_texts import longest_of
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import ENCODERS, write_encoder

QUERY = "how are command line options parsed?"
PASSAGES = [
    "The argparse module parses command line options and writes usage messages.",
    "Oil",
    "",
    "The turbine is lubricated by oil under pressure.\n" * 40,
    "  getopt parses command line options\tin the manner of the C library. ",
    "Ünïcödé 漢字 🙂 e\u0301",
    "A longer passage about something else, " * 6,
]
LONGEST = {"modernbert": 256}


def plainly(folder: Path, max_length: int, passages: list[str]) -> NDArray[np.float32]:
    """Compute the logits one pair at a time with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for passage in passages:
        pair = tokenizer([QUERY], [passage], truncation="only_second", max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**pair).logits[0]
        scores.append(float(logits[0] if len(logits) == 1 else logits[1] - logits[0]))
    return np.asarray(scores, dtype=np.float32)


def score(reranker: Reranker, passages: list[str], max_length: int) -> NDArray[np.float32]:
    """Score passages by their beginnings."""
    return reranker.score(ScoreRequest(QUERY, max_length, parts=False), [PassageText(text) for text in passages])


@pytest.fixture(scope="module", params=[(family, labels) for family in ENCODERS for labels in (1, 2)], ids=str)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    family, labels = request.param
    return family, write_encoder(tmp_path_factory.mktemp(family) / "model", family, labels=labels)


@pytest.fixture(scope="module")
def reranker(written: tuple[str, Path], settings: Settings, scheduler: Scheduler) -> LocalReranker:
    loaded = load_cross_encoder(Stage(name="small", model=str(written[1])), settings, scheduler)
    assert isinstance(loaded, LocalReranker)
    return loaded


@pytest.mark.parametrize("max_length", [24, 64, 128])
def test_scores_are_the_logits_of_plain_transformers(
    written: tuple[str, Path], reranker: LocalReranker, max_length: int
) -> None:
    scores = score(reranker, PASSAGES, max_length)
    np.testing.assert_allclose(scores, plainly(written[1], max_length, PASSAGES), atol=1e-4)
    assert len({round(float(one), 3) for one in scores}) > 4


def test_neither_padding_nor_order_nor_batch_size_moves_a_score(reranker: LocalReranker) -> None:
    together = score(reranker, PASSAGES, 96)
    alone = [score(reranker, [passage], 96)[0] for passage in PASSAGES]
    backwards = score(reranker, PASSAGES[::-1], 96)[::-1]
    repeated = score(reranker, PASSAGES * 20, 96)[-len(PASSAGES) :]
    for other in (alone, backwards, repeated):
        np.testing.assert_allclose(other, together, atol=1e-4)


def test_it_takes_as_many_tokens_as_it_has_positions_and_no_more(
    written: tuple[str, Path], reranker: LocalReranker
) -> None:
    family, folder = written
    longest = LONGEST.get(family, 128)
    assert reranker.model.longest == longest
    found = score(reranker, [PASSAGES[3]], 4096)
    np.testing.assert_allclose(found, plainly(folder, longest, [PASSAGES[3]]), atol=1e-4)


def test_a_long_passage_scores_as_its_best_part(reranker: LocalReranker) -> None:
    long = "A cat sat on a mat. " * 30 + "The argparse module parses command line options."
    best = reranker.score(ScoreRequest(QUERY, 64), [PassageText(long)])
    frame = reranker.model.frame(QUERY, "", 64)
    room = 64 - len(frame.head) - len(frame.tail)
    ids = reranker.model.tokenizer.encode([long])[0]
    name, step = reranker.model.tokenizer.fingerprint, room - room // 4
    alone = [
        reranker.score(ScoreRequest(QUERY, 64), [PassageText("", {name: ids[start : start + room]})])[0]
        for start in [*range(0, len(ids) - room, step), len(ids) - room]
    ]
    assert len(alone) > 3
    assert best[0] == pytest.approx(max(alone), abs=1e-4)


@pytest.mark.parametrize("kind", ["mpnet", "camembert", "roberta-prelayernorm", "data2vec-text", "ibert", "luke"])
def test_positions_that_are_counted_from_the_padding_on_are_fewer(kind: str) -> None:
    config = AutoConfig.for_model(
        kind, vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=40, pad_token_id=1,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(house_folder())
    longest = longest_of(config, tokenizer)
    assert longest == 38
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.inference_mode():
        model(torch.full((1, longest), 7))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 7))


OWN_CODE = """
from transformers import BertConfig, BertForSequenceClassification

open({trace!r}, "w").close()


class MineConfig(BertConfig):
    model_type = "mine"


class Mine(BertForSequenceClassification):
    config_class = MineConfig

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **others):
        outputs = super().forward(input_ids, attention_mask, token_type_ids)
        outputs.logits = outputs.logits * 2 + 1
        return outputs
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where transformers lays copies of the code that models bring."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return tmp_path


def bring_code(folder: Path, code: str) -> None:
    """Give a model code of its own."""
    (folder / "mine.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "mine.MineConfig", "AutoModelForSequenceClassification": "mine.Mine"}
    config |= {"model_type": "mine", "architectures": ["Mine"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_model_with_code_of_its_own_runs_only_if_the_setting_names_it(
    own: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder, trace = write_encoder(own / "own", "bert"), own / "it-ran"
    plain = plainly(folder, 64, PASSAGES)
    bring_code(folder, OWN_CODE.format(trace=str(trace)))
    stage = Stage(name="small", model=str(folder))
    with pytest.raises(ConfigError, match="trust_remote_code"):
        load_cross_encoder(stage, settings, scheduler)
    assert not trace.exists()
    trusting = Settings(dtype="float32", threads=1, trust_remote_code=(str(folder),))
    found = score(load_cross_encoder(stage, trusting, scheduler), PASSAGES, 64)
    assert trace.exists()
    np.testing.assert_allclose(found, plain * 2 + 1, atol=1e-4)


GONE = "from transformers.models.xlm_roberta.modeling_xlm_roberta import create_position_ids_from_input_ids"
"""What jina-reranker-v2's own code imports, and transformers 5 no longer has."""
MADE = "config_class = MineConfig\n\n    def __init__(self, config):\n        super().__init__(config)\n        {}\n"
OUTDATED = {
    "a name that is gone": (
        "from transformers import",
        f"{GONE}\nfrom transformers import",
        "'create_position_ids_from_",
    ),
    "a package that is not there": (
        "from transformers import",
        "import not_there\nfrom transformers import",
        "not_there",
    ),
    "a method that is gone": ("config_class = MineConfig", MADE.format("self.gone()"), "no attribute 'gone'"),
    "a parameter that is gone": ("config_class = MineConfig", MADE.format("self.float(gone=1)"), "argument 'gone'"),
    "a name that it lacks": ("config_class = MineConfig", MADE.format("gone"), "name 'gone' is not defined"),
    "a method that is gone when it scores": ("* 2", "* self.gone", "no attribute 'gone'"),
    "a parameter that is gone when it scores": ("* 2", "* self.float(gone=1)", "argument 'gone'"),
}
"""What is in place of what, in code that was written for another version of transformers, and what is told of it."""


@pytest.mark.parametrize("way", OUTDATED)
def test_trusted_code_that_does_not_run_with_this_transformers_is_refused_with_what_to_do(
    own: Path, scheduler: Scheduler, way: str
) -> None:
    known, written, said = OUTDATED[way]
    folder = write_encoder(own / way.replace(" ", "_"), "bert")
    bring_code(folder, OWN_CODE.format(trace=str(own / "it-ran")).replace(known, written))
    trusting = Settings(dtype="float32", threads=1, trust_remote_code=(str(folder),))
    with pytest.raises(ConfigError) as refused:
        RerankerCache(trusting, scheduler).check([Stage(name="small", model=str(folder))])
    told = str(refused.value)
    assert f"its own code does not run with the installed transformers {transformers.__version__}: " in told
    assert said in told
    assert told.endswith('Name another model, or its ONNX export as kind = "onnx"')
    assert "\n" not in told


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "late_interaction"])
def test_no_onnx_export_is_advised_where_the_kind_has_none(kind: str) -> None:
    stage = Stage(name="large", kind=kind, model="theirs/own")
    told = own_code_refusal(stage, NameError("name 'gone' is not defined\nmore"))
    assert told.endswith("name 'gone' is not defined. Name another model")


def test_of_a_model_that_is_not_trusted_such_an_error_is_a_bug_of_ours() -> None:
    stage = Stage(name="small", model="theirs/own@main")
    with pytest.raises(AttributeError), refusals(stage, Settings(trust_remote_code=("theirs/other",)), "a model"):
        raise AttributeError("gone")
    with pytest.raises(ConfigError, match="own code"), refusals(stage, Settings(trust_remote_code=("theirs/own",)), ""):
        raise AttributeError("gone")


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    folder = write_encoder(tmp_path / "whole", "bert")
    AutoModelForSequenceClassification.from_pretrained(folder).base_model.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"its files lack classifier.bias.*no trained reranker"):
        load_cross_encoder(Stage(name="small", model=str(folder)), settings, scheduler)
