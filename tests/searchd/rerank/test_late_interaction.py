"""MaxSim as ColBERT, PyLate and their kin define it, compared with a plain computation; what is none is refused by name."""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from transformers import AutoTokenizer, BertModel, XLMRobertaModel

from indexer.device import Device, Priority
from indexer.errors import ConfigError
from searchd.rerank.late_interaction import load_late_interaction
from searchd.rerank.late_stored import LateReranker
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.late_models import write_pylate, write_stanford
from tests.searchd.rerank.models import write_tiny

SETTINGS = Settings(device="cpu", dtype="float32", threads=1)
QUERY = "How are command-line options parsed?"
LONG_QUERY = "options that are parsed of a command line, " * 12
PASSAGES = [
    "The argparse module parses command line options, and writes usage messages!",
    "Oil",
    "",
    "The turbine is lubricated by oil (under pressure). " * 9,
    "Ünïcödé 漢字 🙂 ... ?!",
    "A longer passage; about something else, " * 4,
]


@dataclass(frozen=True)
class Form:
    """One model, and what it was trained to do, written down apart from what we read of its files."""

    write: Callable[[Path], Path]
    query: str
    document: str
    length: int
    attend: bool
    skip: str
    mask: str = "[MASK]"
    prefix: str = "bert."
    longest: int = 0
    """Of a query, where it is not filled up."""


FORMS = {
    "colbertv2": Form(
        lambda f: write_stanford(f, metadata={"query_maxlen": 32, "doc_maxlen": 180, "attend_to_mask_tokens": False}),
        "[unused0]", "[unused1]", 32, False, string.punctuation,
    ),
    "attending": Form(
        lambda f: write_stanford(f, metadata={"query_maxlen": 20, "attend_to_mask_tokens": True, "mask_punctuation": False}),
        "[unused0]", "[unused1]", 20, True, "",
    ),
    "jina-like": Form(
        lambda f: write_stanford(
            f, kind="xlm-r", texts=[QUERY, LONG_QUERY, *PASSAGES],
            metadata={"query_maxlen": 32, "query_token_id": "[QueryMarker]", "doc_token_id": "[DocumentMarker]"},
        ),
        "[QueryMarker]", "[DocumentMarker]", 32, False, string.punctuation, "<mask>", "roberta.",
    ),
    "pylate": Form(lambda f: write_pylate(f), "[Q] ", "[D] ", 24, False, string.punctuation, prefix=""),
    "unexpanded": Form(
        lambda f: write_pylate(f, do_query_expansion=False, skiplist_words=["."]),
        "[Q] ", "[D] ", 0, False, ".", prefix="", longest=24,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Scheduler]:
    device = Device(SETTINGS)
    yield Scheduler(device)
    device.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("late")
    return {name: form.write(root / name) for name, form in FORMS.items()}


def loaded(model: Path | str, scheduler: Scheduler, **stage: Any) -> LateReranker:
    named = Stage(name="s", kind="late_interaction", model=str(model), **stage)
    reranker = load_late_interaction(named, SETTINGS, scheduler)
    assert isinstance(reranker, LateReranker)
    return reranker


@pytest.fixture(scope="module", params=FORMS)
def named(
    request: pytest.FixtureRequest, folders: dict[str, Path], scheduler: Scheduler
) -> tuple[LateReranker, Form, Path]:
    folder = folders[request.param]
    return loaded(folder, scheduler), FORMS[request.param], folder


def scores(
    reranker: LateReranker, query: str, passages: Sequence[str], max_length: int = 128, *, parts: bool = False
) -> NDArray[np.float32]:
    request = ScoreRequest(query, max_length, parts=parts)
    return reranker.score(request, [PassageText(passage) for passage in passages])


# -- the plain computation ------------------------------------------------------------------------------------------


def plain_vectors(form: Form, folder: Path, ids: list[int], attended: list[int]) -> torch.Tensor:
    """Compute the unit vectors of one sequence with transformers and a matrix."""
    tensors = load_file(folder / "model.safetensors")
    dense = folder / "1_Dense" / "model.safetensors"
    projection = load_file(dense)["linear.weight"] if dense.is_file() else tensors["linear.weight"]
    own = {name.removeprefix(form.prefix): tensor for name, tensor in tensors.items() if name.startswith(form.prefix)}
    kind = XLMRobertaModel if form.prefix == "roberta." else BertModel
    config = kind.config_class.from_pretrained(folder)
    model = kind(config).eval()
    model.load_state_dict({name: own[name] for name in model.state_dict()}, strict=True)
    with torch.inference_mode():
        hidden = model(torch.tensor([ids]), attention_mask=torch.tensor([attended])).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden @ projection.T, dim=-1)


def plainly(form: Form, folder: Path, query: str, passages: Sequence[str], max_length: int) -> list[float]:
    """Compute MaxSim pair by pair."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    one = tokenizer.convert_tokens_to_ids
    room = (form.length or form.longest) - 3
    words = tokenizer(query, add_special_tokens=False)["input_ids"][:room]
    ids = [tokenizer.cls_token_id, one(form.query), *words, tokenizer.sep_token_id]
    missing = max(0, form.length - len(ids))
    attended = [1] * len(ids) + [int(form.attend)] * missing
    asked = plain_vectors(form, folder, ids + [one(form.mask)] * missing, attended)
    skipped = {one(sign) for sign in form.skip} - {tokenizer.unk_token_id}
    found = []
    for passage in passages:
        words = tokenizer(passage, add_special_tokens=False)["input_ids"][: max_length - 3]
        ids = [tokenizer.cls_token_id, one(form.document), *words, tokenizer.sep_token_id]
        vectors = plain_vectors(form, folder, ids, [1] * len(ids))
        kept = vectors[[place for place, token in enumerate(ids) if token not in skipped]]
        found.append(float((asked @ kept.T).max(dim=1).values.sum()))
    return found


# -- scores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [QUERY, LONG_QUERY, ""], ids=["short", "long", "empty"])
@pytest.mark.parametrize("max_length", [24, 128])
def test_scores_are_the_plain_computation(named: tuple[LateReranker, Form, Path], query: str, max_length: int) -> None:
    reranker, form, folder = named
    ours = scores(reranker, query, PASSAGES, max_length)
    np.testing.assert_allclose(ours, plainly(form, folder, query, PASSAGES, max_length), atol=1e-4)
    assert len({round(float(score), 3) for score in ours}) == len(PASSAGES)


def test_scores_are_those_of_sentence_transformers(named: tuple[LateReranker, Form, Path]) -> None:
    encoder = MultiVectorEncoder(str(named[2]), device="cpu", local_files_only=True)
    asked, kept = encoder.encode_query([QUERY]), encoder.encode_document(PASSAGES)
    theirs = encoder.similarity(asked, kept)[0].numpy()
    np.testing.assert_allclose(scores(named[0], QUERY, PASSAGES), theirs, atol=1e-4)


def test_neither_padding_nor_order_nor_batch_size_moves_a_score(named: tuple[LateReranker, Form, Path]) -> None:
    reranker = named[0]
    together = scores(reranker, QUERY, PASSAGES)
    alone = [scores(reranker, QUERY, [passage])[0] for passage in PASSAGES]
    backwards = scores(reranker, QUERY, PASSAGES[::-1])[::-1]
    repeated = scores(reranker, QUERY, PASSAGES * 5)[: len(PASSAGES)]
    for other in (alone, backwards, repeated):
        np.testing.assert_allclose(other, together, atol=1e-4)


def test_queries_that_share_a_batch_do_not_disturb_each_other(named: tuple[LateReranker, Form, Path]) -> None:
    model = named[0].model
    pairs = [
        pair
        for query in (QUERY, LONG_QUERY)
        for pair in named[0]._computing._parts(ScoreRequest(query, 64), [PassageText(passage) for passage in PASSAGES])[
            0
        ]
    ]
    mixed = pairs[::2] + pairs[1::2]
    alone = [model.forward([pair])[0] for pair in mixed]
    np.testing.assert_allclose(model.forward(mixed), alone, atol=1e-4)


def test_a_long_passage_scores_as_its_best_part_and_no_token_is_left_out(
    folders: dict[str, Path], scheduler: Scheduler
) -> None:
    reranker = loaded(folders["colbertv2"], scheduler)
    filler = "The turbine is lubricated by oil. " * 12
    whole = f"{filler}{QUERY} {QUERY} {QUERY} {filler}"
    parts, beginning = scores(reranker, QUERY, [whole], 48, parts=True), scores(reranker, QUERY, [whole], 48)
    assert parts[0] > beginning[0] + 0.1


def test_a_query_is_computed_once(folders: dict[str, Path], scheduler: Scheduler) -> None:
    model = loaded(folders["colbertv2"], scheduler).model
    state = model.frame(QUERY, "", 64).state
    first = scheduler.device.run(lambda: model._query_vectors(state), priority=0)  # type: ignore[arg-type]
    assert model._query_vectors(model.frame(QUERY, "", 512).state) is first
    assert first.shape == (32, 16)


def test_how_it_runs_is_told_as_of_every_local_kind(folders: dict[str, Path], scheduler: Scheduler) -> None:
    cache = RerankerCache(Settings(dtype="float32"), scheduler)
    stage = Stage(name="late", kind="late_interaction", model=str(folders["colbertv2"]))
    assert cache.of(stage).fingerprint
    assert cache.paths() == [("colbertv2", "late_interaction, float32, 16 dimensions, padded batches")]


@pytest.mark.parametrize("query", [QUERY, LONG_QUERY, ""], ids=["short", "long", "empty"])
def test_as_many_products_are_summed_as_a_query_has_vectors(
    named: tuple[LateReranker, Form, Path], query: str, scheduler: Scheduler
) -> None:
    model = named[0].model
    state = model.frame(query, "", 64).state
    vectors = scheduler.device.run(lambda: model.query_array(state), priority=Priority.QUERY)
    assert model.query_vectors(query) == len(vectors)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_bfloat16_is_close_and_another_model(folders: dict[str, Path], scheduler: Scheduler) -> None:
    full, half = (loaded(folders["colbertv2"], scheduler, precision=name) for name in ("float32", "bfloat16"))
    assert np.abs(scores(full, QUERY, PASSAGES) - scores(half, QUERY, PASSAGES)).max() < 0.5
    assert full.fingerprint != half.fingerprint
    assert "bfloat16" in half.model.path


def test_a_saved_multi_vector_encoder_scores_like_what_it_was_made_of(
    folders: dict[str, Path], scheduler: Scheduler, tmp_path: Path
) -> None:
    MultiVectorEncoder(str(folders["colbertv2"]), device="cpu", local_files_only=True).save_pretrained(
        str(tmp_path / "s")
    )
    np.testing.assert_allclose(
        scores(loaded(tmp_path / "s", scheduler), QUERY, PASSAGES),
        scores(loaded(folders["colbertv2"], scheduler), QUERY, PASSAGES),
        atol=1e-4,
    )


# -- what is refused ------------------------------------------------------------------------------------------------


def refused(model: Path | str, scheduler: Scheduler, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        loaded(model, scheduler)
    assert f"stage model {str(model)!r} cannot be loaded" in str(caught.value)
    assert "ColBERT, PyLate or MultiVectorEncoder" in str(caught.value)


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / name))


def test_models_of_another_kind_are_refused_instead_of_given_a_random_projection(
    scheduler: Scheduler, tmp_path: Path
) -> None:
    refused(write_tiny(tmp_path / "cross"), scheduler, "it is no late-interaction model")
    refused(tmp_path / "nothing", scheduler, "there is no folder")


def test_weights_that_are_missing_are_not_drawn(copied: Callable[[str], Path], scheduler: Scheduler) -> None:
    folder = copied("colbertv2")
    tensors = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors", {"format": "pt"})
    refused(folder, scheduler, "no weights for encoder.layer.1.output.dense.weight")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "mine.Model"}}))
    refused(folder, scheduler, "it has code of its own, which runs if the setting trust_remote_code names it")
    save_file(
        {k: v for k, v in tensors.items() if k != "linear.weight"}, folder / "model.safetensors", {"format": "pt"}
    )
    refused(folder, scheduler, "linear.weight")


def test_pickled_weights_are_never_read(copied: Callable[[str], Path], scheduler: Scheduler) -> None:
    folder = copied("pylate")
    torch.save({}, folder / "1_Dense" / "pytorch_model.bin")
    (folder / "1_Dense" / "model.safetensors").unlink()
    refused(folder, scheduler, "pickled weights only")


def test_code_of_its_own_is_refused(copied: Callable[[str], Path], scheduler: Scheduler) -> None:
    folder = copied("pylate")
    dense = json.loads((folder / "1_Dense" / "config.json").read_text())
    (folder / "1_Dense" / "config.json").write_text(json.dumps(dense | {"activation_function": "mine.Activation"}))
    refused(folder, scheduler, "its activation 'mine.Activation' is code of its own; the setting trust_remote_code")
    parts = json.loads((folder / "modules.json").read_text())
    parts[1]["type"] = "mine.Dense"
    (folder / "modules.json").write_text(json.dumps(parts))
    refused(folder, scheduler, "its part 'mine.Dense' is code of its own; the setting trust_remote_code")


def test_a_prompt_that_runs_into_the_text_is_refused(copied: Callable[[str], Path], scheduler: Scheduler) -> None:
    folder = copied("pylate")
    said = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said | {"document_prefix": "pre"}))
    refused(folder, scheduler, "its prompt 'pre' is no token of its own and runs into the words after it")


def test_int8_is_refused(folders: dict[str, Path], scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match="int8 is not for kind late_interaction"):
        loaded(folders["colbertv2"], scheduler, precision="int8")
