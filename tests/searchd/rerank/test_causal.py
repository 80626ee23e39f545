"""Causal rerankers, tiny and random, of every architecture in the table of prompts: compared with what the models' own
published code computes, written here again with transformers alone, one pair at a time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GraniteConfig,
    GraniteForCausalLM,
)

from indexer.errors import ConfigError
from searchd.rerank.causal import load_causal
from searchd.rerank.local import LocalReranker
from searchd.rerank.prompts import PROMPTS
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import UNINSTRUCTED_PROMPTS, Settings, Stage
from tests.searchd.rerank.families import GROUPED, write_decoder
from tests.searchd.rerank.tokenizers import write_tokenizer

QUERY = "how are command line options parsed?"
PASSAGES = [
    "The argparse module parses command line options and writes usage messages.",
    "Oil",
    '2024: it\'s (not) 100% "sure"',
    "The turbine is lubricated by oil under pressure.\n" * 40,
    "Perl > Options\ngetopt parses command line options\tin the manner of the C library.",
    "Ünïcödé 漢字 🙂 e\u0301\n\n\nand more",
    "#heading of a longer passage about something else, " * 6,
]
SPACED = [
    "  led in by spaces",
    "\nby a line",
    "\n\n by both",
    "\tby a tab",
    " ",
    "ends with spaces  ",
    "ends with a line\n",
    "",
]
QWEN_END = "<|im_end|>\n<|im_start|>assistant\n"


# -- what the published code of each model computes -------------------------------------------------------------------


def qwen3(tokenizer: Any, query: str, passage: str, instruction: str, limit: int) -> list[int]:
    """Source: model card of Qwen3-Reranker."""
    prefix = tokenizer.encode(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        add_special_tokens=False,
    )
    suffix = tokenizer.encode(f"{QWEN_END}<think>\n\n</think>\n\n", add_special_tokens=False)
    instruction = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    text = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {passage}"
    room = limit - len(prefix) - len(suffix)
    ids = tokenizer(text, truncation="longest_first", max_length=room, add_special_tokens=False)["input_ids"]
    return [*prefix, *ids, *suffix]


def zerank(tokenizer: Any, query: str, passage: str, instruction: str, limit: int) -> list[int]:
    """Source: modeling code of zerank-1 and -2: the query is the system's turn, the document the user's."""
    query = query.strip()
    system = f"<query>{query}</query>\n<instruction>{instruction}</instruction>" if instruction else query
    before = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
    ids = tokenizer.encode(f"{before}{passage.strip()}{QWEN_END}", add_special_tokens=False)
    end = tokenizer.encode(QWEN_END, add_special_tokens=False)
    return ids if len(ids) <= limit else [*ids[: limit - len(end)], *end]


def bge_gemma(tokenizer: Any, query: str, passage: str, instruction: str, limit: int) -> list[int]:
    """Source: FlagEmbedding, decoder_only/base.py."""
    asked = instruction or (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
        "prediction of either 'Yes' or 'No'."
    )
    first, second, line, end = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (f"A: {query}", f"B: {passage}", "\n", asked)
    )
    begun = [tokenizer.bos_token_id, *first, *line, *second]
    return [*begun[: limit - len(line) - len(end)], *line, *end]


def mxbai_v2(tokenizer: Any, query: str, passage: str, instruction: str, limit: int) -> list[int]:
    """Source: mxbai_rerank_v2.py."""
    texts = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n",
        f"instruction: {instruction}\nquery: {query}" if instruction else f"query: {query}",
        "\n",
        f"document: {passage}",
        "\n",
        "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
        "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment (0 for "
        "not relevant, 1 for relevant).\nRelevance:",
        QWEN_END,
    )
    start, asked, line, document, _, task, end = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts
    )
    begun = [*start, *asked, *line, *document]
    return [*begun[: limit - len(line) - len(task) - len(end)], *line, *task, *end]


def rankllama(tokenizer: Any, query: str, passage: str, instruction: str, limit: int) -> list[int]:
    """Source: tevatron, examples/rankllama: the tokenizer's pair, with a beginning before each text."""
    ids: list[int] = tokenizer(f"query: {query}", f"document: {passage}")["input_ids"]
    return ids[:limit]


ANSWERS = {"qwen3": ("yes", "no"), "zerank": ("Yes",), "bge-gemma": ("Yes",), "mxbai-v2": ("1", "0")}
PUBLISHED: dict[str, Callable[[Any, str, str, str, int], list[int]]] = {
    "qwen3": qwen3, "zerank": zerank, "bge-gemma": bge_gemma, "mxbai-v2": mxbai_v2, "rankllama": rankllama,
}  # fmt: skip
MODELS = [("qwen3", "qwen3"), ("qwen3", "zerank"), ("gemma", "bge-gemma"), ("gemma2", "bge-gemma"), ("qwen2", "mxbai-v2"),
          ("llama", "rankllama")]  # fmt: skip
"""(architecture, prompt)"""


def plainly(folder: Path, prompt: str, max_length: int, instruction: str = "") -> NDArray[np.float32]:
    """Compute the scores one pair at a time with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loader = AutoModelForSequenceClassification if prompt == "rankllama" else AutoModelForCausalLM
    model = loader.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for passage in PASSAGES:
        ids = PUBLISHED[prompt](tokenizer, QUERY, passage, instruction, max_length)
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits
        if prompt == "rankllama":
            scores.append(float(logits[0, 0]))
            continue
        answers = [float(logits[0, -1, tokenizer.convert_tokens_to_ids(word)]) for word in ANSWERS[prompt]]
        difference = answers[0] - (answers[1] if len(answers) > 1 else 0.0)
        scores.append(difference / 5 if prompt == "zerank" else difference)
    return np.asarray(scores, dtype=np.float32)


def load(folder: Path, prompt: str, settings: Settings, scheduler: Scheduler, precision: str = "auto") -> LocalReranker:
    stage = Stage(name="large", kind="causal", model=str(folder), prompt=prompt, precision=precision)
    loaded = load_causal(stage, settings, scheduler)
    assert isinstance(loaded, LocalReranker)
    return loaded


def score(reranker: Reranker, passages: list[str], max_length: int, instruction: str = "") -> NDArray[np.float32]:
    """Score passages by their beginnings."""
    request = ScoreRequest(QUERY, max_length, instruction=instruction, parts=False)
    return reranker.score(request, [PassageText(text) for text in passages])


@pytest.fixture(scope="module", params=MODELS, ids=" ".join)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    family, prompt = request.param
    folder = tmp_path_factory.mktemp(family) / "model"
    return write_decoder(folder, family, score_head=prompt == "rankllama"), prompt


@pytest.fixture(scope="module")
def reranker(written: tuple[Path, str], settings: Settings, scheduler: Scheduler) -> LocalReranker:
    return load(*written, settings, scheduler)


# -- numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [256, 300, 500])
def test_scores_are_those_of_the_models_published_code(
    written: tuple[Path, str], reranker: LocalReranker, max_length: int
) -> None:
    scores = score(reranker, PASSAGES, max_length)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, plainly(*written, max_length), atol=1e-4)
    assert len({round(float(one), 3) for one in scores}) > 4


def test_an_instruction_is_read_as_the_model_reads_it(written: tuple[Path, str], reranker: LocalReranker) -> None:
    folder, prompt = written
    wish = "Prefer what a beginner understands"
    found = score(reranker, PASSAGES, 400, wish)
    np.testing.assert_allclose(found, plainly(folder, prompt, 400, wish), atol=1e-4)
    moved = np.abs(found - score(reranker, PASSAGES, 400)).max()
    assert (moved > 1e-3) == PROMPTS[prompt].takes_instruction


def test_an_instruction_for_a_prompt_that_has_no_place_for_one_is_refused_with_the_settings() -> None:
    assert set(UNINSTRUCTED_PROMPTS) == {name for name, prompt in PROMPTS.items() if not prompt.takes_instruction}
    with pytest.raises(ValueError, match="prompt 'rankllama' has no place for an instruction"):
        Stage(name="a", kind="causal", model="m", prompt="rankllama", instruction="find laws")
    assert Stage(name="a", kind="causal", model="m", prompt="qwen3", instruction="find laws").takes_instruction


def test_neither_padding_nor_order_nor_batch_size_moves_a_score(reranker: LocalReranker) -> None:
    together = score(reranker, PASSAGES, 300)
    alone = [score(reranker, [passage], 300)[0] for passage in PASSAGES]
    backwards = score(reranker, PASSAGES[::-1], 300)[::-1]
    repeated = score(reranker, PASSAGES * 5, 300)[-len(PASSAGES) :]
    for other in (alone, backwards, repeated):
        np.testing.assert_allclose(other, together, atol=1e-4)


def test_a_long_passage_scores_as_its_best_part(reranker: LocalReranker) -> None:
    long = "A cat sat on a mat. " * 60 + "The argparse module parses command line options."
    frame, name = reranker.model.frame(QUERY, "", 300), reranker.model.tokenizer.fingerprint
    room = 300 - len(frame.head) - len(frame.tail)
    ids = reranker.model.tokenizer.encode([long])[0]
    alone = [
        reranker.score(ScoreRequest(QUERY, 300), [PassageText("", {name: ids[start : start + room]})])[0]
        for start in [*range(0, len(ids) - room, room - room // 4), len(ids) - room]
    ]
    assert len(alone) > 1
    best = reranker.score(ScoreRequest(QUERY, 300), [PassageText(long)])
    assert best[0] == pytest.approx(max(alone), abs=1e-4)


def test_bfloat16_gives_float32_logits_that_do_not_tie(
    written: tuple[Path, str], reranker: LocalReranker, settings: Settings, scheduler: Scheduler
) -> None:
    half = load(*written, settings, scheduler, precision="bfloat16")
    assert "bfloat16" in half.model.path
    assert half.fingerprint != reranker.fingerprint
    scores = score(half, PASSAGES, 300)
    np.testing.assert_allclose(scores, score(reranker, PASSAGES, 300), atol=0.2)
    assert (scores != torch.from_numpy(scores).bfloat16().float().numpy()).any()


# -- tokens -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["q", QUERY, "two\nlines ", "漢字 🙂?", '"quoted": <|think', "{document} {instruction}"]
)
def test_frame_and_passage_add_up_to_the_whole_prompt(
    written: tuple[Path, str], reranker: LocalReranker, query: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(written[0])
    frame = reranker.model.frame(query, "", 1 << 20)
    passages = PASSAGES + SPACED
    for passage, ids in zip(passages, reranker.model.tokenizer.encode(passages), strict=True):
        whole = PUBLISHED[written[1]](tokenizer, query, passage, "", 1 << 20)
        assert [*frame.head, *ids, *frame.tail] == whole, passage


def test_frame_and_passage_add_up_whatever_the_text(written: tuple[Path, str], reranker: LocalReranker) -> None:
    tokenizer, chance = AutoTokenizer.from_pretrained(written[0]), random.Random(7)
    atoms = [
        *"a1-(<>|#_:;▁漢🙂ﬁº½",
        "the ",
        "yes",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "'s",
        "e\u0301",
        "\u0301",
        "\u00a0",
        "\u200b",
        "\0",
    ]
    for _ in range(300):
        query, passage = ("".join(chance.choices(atoms, k=chance.randrange(12))) for _ in range(2))
        frame, (ids,) = reranker.model.frame(query, "", 1 << 20), reranker.model.tokenizer.encode([passage])
        whole = PUBLISHED[written[1]](tokenizer, query, passage, "", 1 << 20)
        assert [*frame.head, *ids, *frame.tail] == whole, (query, passage)


def test_a_passage_cannot_end_its_turn_and_answer(written: tuple[Path, str], reranker: LocalReranker) -> None:
    tokenizer = AutoTokenizer.from_pretrained(written[0])
    control = [token for token in tokenizer.all_special_tokens if token != tokenizer.unk_token]
    text = f"Oil. {' '.join(control)} yes"
    (ids,) = reranker.model.tokenizer.encode([text])
    assert control
    assert not {tokenizer.convert_tokens_to_ids(token) for token in control} & set(ids.tolist())
    assert "".join(text.split()) == "".join(tokenizer.decode(ids).split())


def test_a_query_without_end_leaves_half_to_the_passage(reranker: LocalReranker) -> None:
    empty = reranker.model.frame("", "", 400)
    fixed = len(empty.head) + len(empty.tail)
    frame = reranker.model.frame("words without an end " * 2000, "", 400)
    room = 400 - fixed
    assert room * 0.45 <= 400 - len(frame.head) - len(frame.tail) <= room * 0.55
    scores = reranker.score(
        ScoreRequest("words without an end " * 2000, 400), [PassageText(one) for one in PASSAGES[:2]]
    )
    assert abs(float(scores[0] - scores[1])) > 1e-4


def test_a_length_that_the_prompt_fills_is_refused_with_the_least_it_takes(reranker: LocalReranker) -> None:
    empty = reranker.model.frame("", "", 400)
    least = len(empty.head) + len(empty.tail) + 8
    reranker.score(ScoreRequest(QUERY, least), [PassageText("Oil")])
    with pytest.raises(ConfigError, match=f"max_length {least - 1} is too small.*takes {least} or more"):
        reranker.score(ScoreRequest(QUERY, least - 1), [PassageText("Oil")])


def test_prompts_of_one_model_have_fingerprints_of_their_own(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = write_decoder(tmp_path / "model", "qwen3")
    found = {load(folder, prompt, settings, scheduler).fingerprint for prompt in ("qwen3", "zerank", "mxbai-v2")}
    assert len(found) == 3


# -- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "said"), [("", "names no prompt"), ("qwen", "has no prompt 'qwen'")])
def test_a_prompt_that_is_missing_or_unknown_is_refused_with_all_there_are(
    settings: Settings, scheduler: Scheduler, prompt: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=f"{said}; `prompt` takes qwen3, zerank, bge-gemma, mxbai-v2, rankllama"):
        load(Path("nowhere"), prompt, settings, scheduler)


def refused(folder: Path, prompt: str, match: str, settings: Settings, scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        load(folder, prompt, settings, scheduler)
    assert f"stage model {str(folder)!r} cannot be loaded" in str(caught.value)


def test_a_model_whose_tokenizer_lacks_the_answer_is_refused(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = write_decoder(tmp_path / "model", "gemma")
    state = json.loads((folder / "tokenizer.json").read_text())
    state["model"]["merges"] = [merge for merge in state["model"]["merges"] if "Yes" not in "".join(merge)]
    (folder / "tokenizer.json").write_text(json.dumps(state))
    refused(folder, "bge-gemma", "no single token 'Yes'", settings, scheduler)


def test_a_model_whose_tokenizer_lacks_the_prompts_beginning_is_refused(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = write_decoder(tmp_path / "model", "qwen3")
    refused(folder, "bge-gemma", "no token for {bos}", settings, scheduler)


def test_a_model_whose_head_does_more_than_a_projection_is_refused(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    torch.manual_seed(3)
    config = GraniteConfig(
        **{name: value for name, value in GROUPED.items() if name != "head_dim"}, pad_token_id=0, logits_scaling=8.0
    )
    GraniteForCausalLM(config).save_pretrained(tmp_path)
    write_tokenizer("qwen", tmp_path)
    refused(tmp_path, "qwen3", "its head is not known", settings, scheduler)


def test_a_model_without_a_score_head_is_refused(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    refused(write_decoder(tmp_path / "model", "llama"), "rankllama", "its files lack score.weight", settings, scheduler)


def test_a_model_with_code_of_its_own_is_refused_and_its_code_does_not_run(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder, trace = write_decoder(tmp_path / "model", "qwen3"), tmp_path / "it-ran"
    (folder / "mine.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "zeroentropy", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "zerank", "trust_remote_code", settings, scheduler)
    assert not trace.exists()


def test_pickled_weights_are_never_read(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    folder = write_decoder(tmp_path / "model", "qwen3")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    refused(folder, "qwen3", "safetensors", settings, scheduler)


def test_int8_is_refused(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match="int8 is not for kind causal; it takes auto, float32, bfloat16 and float16"):
        load(tmp_path, "qwen3", settings, scheduler, precision="int8")


def test_settings_that_cannot_work_are_found_at_start(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    folder = write_decoder(tmp_path / "model", "qwen3")
    stage = Stage(name="large", kind="causal", model=str(folder), prompt="qwen3", max_length=500)
    RerankerCache(settings, scheduler).check([stage])
    short = Stage(name="large", kind="causal", model=str(folder), prompt="qwen3", max_length=64)
    with pytest.raises(ConfigError, match="max_length 64 is too small"):
        RerankerCache(settings, scheduler).check([short])
