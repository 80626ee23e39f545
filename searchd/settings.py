"""Query-time settings: the daemon's address and budgets, and profiles (depth, fusion, cascade).

Extends `indexer/settings.py`, whose `describe` makes the one table of `searchd settings` and of the README.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from indexer import settings as indexer_settings

HOUSE_RERANKER = "rerank-base"
"""The packaged cross-encoder that a stage runs unless it names another: rerank-small, a Hugging Face name, or a folder."""

HOUSE_RERANKERS = (HOUSE_RERANKER, "rerank-small")
"""What packaged cross-encoders are called."""

LOCAL_KINDS = ("cross_encoder", "causal", "seq2seq", "late_interaction", "onnx")
"""Kinds whose model runs in this process."""
NAMED_KINDS = {
    "causal": "a causal language model",
    "seq2seq": "a sequence-to-sequence model",
    "late_interaction": "a ColBERT, PyLate or MultiVectorEncoder model",
}
"""Kinds of which no model is packaged, and what theirs is."""
OPTIONS = {
    "adapter": ("cross_encoder", "causal", "seq2seq", "late_interaction"),
    "instruction": ("causal", "listwise", "remote"),
    "prompt": ("causal",),
    "precision": ("cross_encoder", "causal", "seq2seq", "late_interaction"),
    "max_length": LOCAL_KINDS,
    "long": (*LOCAL_KINDS, "listwise"),
    "early_stop_margin": LOCAL_KINDS,
    "provider": ("remote",),
    "url": ("remote", "listwise"),
    "key_variable": ("remote", "listwise"),
    "window": ("listwise",),
    "step": ("listwise",),
}
"""Which kinds an option of a stage is for: given to another it would do nothing, so it is refused."""

INSTRUCTED_PROVIDERS = ("voyage", "zeroentropy", "vllm")
"""Of remote stages, those whose API takes an instruction."""

UNINSTRUCTED_PROMPTS = ("rankllama",)
"""Of causal stages, those whose prompt has no place for an instruction."""

RESERVED = frozenset(
    {"bm25", "dense", "rrf", "linear", "relevance", "wait", "retrieve", "fuse", "load", "rerank", "present"}
)
"""What systems and steps are called in answers; no stage may be."""

NO_JUDGE = {"clicks": "weak grades made of clicks", "file": "grades of a file that names no judge"}
"""What judgments say in the place of a judge; no key may be called so."""


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reranker in the cascade: scores the top `depth`, of which `keep` go on to the next stage."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_-]{0,31}$",
            description="Name in answers and metrics",
            extra={"accepts": "1 to 32 of a-z, 0-9, _ and -, a letter first"},
        ),
    ]
    kind: Annotated[
        str,
        Meta(
            pattern="^(cross_encoder|causal|seq2seq|late_interaction|onnx|listwise|remote)$",
            description="What sort of reranker it is",
        ),
    ] = "cross_encoder"
    model: Annotated[
        str,
        Meta(min_length=1, description="Packaged model, Hugging Face name (`name@revision`), folder or remote name"),
    ] = HOUSE_RERANKER
    adapter: Annotated[str, Meta(description="LoRA adapter over the model: Hugging Face name or folder")] = ""
    instruction: Annotated[
        str, Meta(max_length=2000, description="What the model is told to look for, where it takes an instruction")
    ] = ""
    prompt: Annotated[
        str, Meta(max_length=40, description="How a causal model is asked; the README's table names it")
    ] = ""
    precision: Annotated[
        str,
        Meta(
            pattern="^(auto|float32|bfloat16|float16|int8)$",
            description="auto: `dtype`, or what is fastest here and ranks like float32 (kinds other than cross-encoders: up to "
            "150 million parameters); int8 is for cross-encoders",
        ),
    ] = "auto"
    provider: Annotated[str, Meta(max_length=40, description="Whose API a remote stage speaks")] = ""
    url: Annotated[
        str, Meta(max_length=2000, description="Address of a remote or listwise API; empty: the provider's")
    ] = ""
    key_variable: Annotated[
        str,
        Meta(
            pattern="^([A-Za-z_][A-Za-z0-9_]*)?$",
            description="Environment variable with the API's key; empty: the provider's usual one",
            extra={"accepts": "name of a variable"},
        ),
    ] = ""
    window: Annotated[
        int, Meta(ge=2, le=100, description="Passages a listwise model orders at once; fewer if they are long")
    ] = 20
    step: Annotated[int, Meta(ge=1, le=99, description="By how many its window moves")] = 10
    depth: Annotated[int, Meta(ge=1, le=1000, description="Passages it scores at most")] = 50
    keep: Annotated[int, Meta(ge=1, le=1000, description="Passages that go on to the next stage")] = 20
    max_length: Annotated[
        int, Meta(ge=16, le=32768, description="Tokens of query and passage together; the query gets half at most")
    ] = 256
    long: Annotated[
        str,
        Meta(
            pattern="^(parts|beginning)$",
            description="A passage that is longer scores as its best overlapping part, or by its beginning",
        ),
    ] = "parts"
    budget_ms: Annotated[int, Meta(ge=1, le=60000, description="Time it may take")] = 400
    blend: Annotated[
        float, Meta(ge=0, le=1, description="w in w*z(stage) + (1-w)*z(fused score); 1 is the stage alone")
    ] = 0.3
    early_stop_margin: Annotated[
        Annotated[float, Meta(ge=-10, le=10)] | None,
        Meta(
            description="Ends it once no passage that is left would come among the first `keep`, had it a logit so many "
            "standard deviations above the mean; left out: all are scored",
            extra={"accepts": "-10 to 10, usually 1 to 3"},
        ),
    ] = None
    enabled: Annotated[bool, Meta(description="Off: the stage is left out, and its model is not loaded")] = True
    on_request: Annotated[
        bool, Meta(description="Whether requests may name it while it is off; the first that does has its model loaded")
    ] = False

    def __post_init__(self) -> None:
        for option, kinds in OPTIONS.items():
            if self.kind not in kinds and getattr(self, option) != defaults_of(type(self))[option]:
                raise ValueError(f"{option} is for stages of kind {', '.join(kinds)}; {self.name!r} is {self.kind}")
        if self.kind in NAMED_KINDS and self.model in HOUSE_RERANKERS and not Path(self.model).is_dir():
            raise ValueError(
                f"model of stage {self.name!r} must be {NAMED_KINDS[self.kind]}, by its Hugging Face name or as a folder: "
                f"{self.model} is a packaged cross-encoder, and the stage is of kind {self.kind}"
            )
        if self.instruction and not self.takes_instruction:
            raise ValueError(
                f"no instruction goes to {self.provider!r}; of providers {', '.join(INSTRUCTED_PROVIDERS)} take one"
                if self.kind == "remote"
                else f"prompt {self.prompt!r} has no place for an instruction"
            )
        if self.early_stop_margin is not None and self.keep >= self.depth:
            raise ValueError("early_stop_margin needs keep smaller than depth: it settles the first `keep`")
        if self.step >= self.window:
            raise ValueError("step must be smaller than window, or passages between windows are never compared")

    @property
    def may_run(self) -> bool:
        """Whether a request may name it."""
        return self.enabled or self.on_request

    @property
    def takes_instruction(self) -> bool:
        """Whether an instruction, the settings' or a request's, changes what this stage's model reads."""
        if self.kind == "causal":
            return self.prompt not in UNINSTRUCTED_PROMPTS
        return self.kind in OPTIONS["instruction"] and (self.kind != "remote" or self.provider in INSTRUCTED_PROVIDERS)


@cache
def defaults_of(kind: type[msgspec.Struct]) -> dict[str, object]:
    """Return the defaults of a struct's fields. To ask msgspec takes a millisecond, and every query makes stages anew."""
    return {field.name: field.default for field in msgspec.structs.fields(kind)}


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named set of all query-time choices."""

    depth: Annotated[int, Meta(ge=1, le=1000, description="Passages taken of each system")] = 100
    fusion: Annotated[
        str,
        Meta(pattern="^(rrf|linear)$", description="How systems are fused: by ranks, or by scores brought to 0 to 1"),
    ] = "rrf"
    rrf_k: Annotated[float, Meta(ge=1, le=1000, description="k of reciprocal rank fusion")] = 60
    weights: Annotated[
        dict[str, Annotated[float, Meta(ge=0, le=100)]],
        Meta(description="Weight of each system in the fusion, 0 to 100"),
    ] = msgspec.field(default_factory=dict)
    stages: Annotated[tuple[Stage, ...], Meta(max_length=4, description="The cascade, in order")] = (
        Stage(
            name="small",
            model="rerank-small",
            depth=30,
            keep=15,
            max_length=64,
            long="beginning",
            budget_ms=600,
            blend=0.4,
        ),
        Stage(name="large", depth=15, keep=15, max_length=256, budget_ms=1200, blend=0.6),
    )
    """nDCG@10 on Cranfield and Perl FAQ: RRF .436/.598, these .442/.687 (`searchd eval DIR`). Weights from .3 to .4 and .5
    to .6, and a depth of 30 to 50, differ by less than .01 in the mean; `rerank-base` as the first of both was .442/.673."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or RESERVED.intersection(names):
            raise ValueError(f"stages need names of their own, none of {', '.join(sorted(RESERVED))}")
        if unknown := set(self.weights) - {"bm25", "dense"}:
            raise ValueError(f"weights are for bm25 and dense, not {', '.join(sorted(unknown))}")
        if not all(math.isfinite(weight) for weight in self.weights.values()):
            raise ValueError("weights are numbers from 0 to 100")


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may come with `Authorization: Bearer <secret>` or sign in with it, whose documents they read, what they may do."""

    name: Annotated[str, Meta(min_length=1, max_length=64, description="Name in messages")]
    secret: Annotated[
        str,
        Meta(
            min_length=16, description="What callers send", extra={"secret": True, "accepts": "16 characters or more"}
        ),
    ]
    principals: Annotated[tuple[str, ...], Meta(description="Whose documents it reads besides public ones")] = ()
    write: Annotated[bool, Meta(description="Whether it may add, delete and rebuild")] = False
    judge: Annotated[bool, Meta(description="Whether it may judge; keys that write may too")] = False

    def __post_init__(self) -> None:
        if self.name in NO_JUDGE:
            raise ValueError(
                f"no key may be named {self.name!r}: judgments made with it would be taken for {NO_JUDGE[self.name]}; "
                "give it another name"
            )


class Settings(indexer_settings.Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the product."""

    host: Annotated[str, Meta(min_length=1, description="Address `searchd serve` binds")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port it binds; 0: any free one")] = 8000
    timeout_ms: Annotated[
        int, Meta(ge=0, le=60000, description="Whole-query budget, ms; 0: 800 with a GPU, 3000 on CPU")
    ] = 0
    max_timeout_ms: Annotated[int, Meta(ge=100, le=600000, description="Most a request may ask for, ms")] = 30000
    score_cache: Annotated[
        int, Meta(ge=0, le=100_000_000, description="Rerankers' scores to remember (45 MB for 200,000); 0: none")
    ] = 200_000
    log_queries: Annotated[
        bool, Meta(description="Whether texts of queries are kept, with what was shown, for judging and clicks")
    ] = False
    log_days: Annotated[int, Meta(ge=1, le=3650, description="How long they and clicks are kept, days")] = 90
    profiles: Annotated[
        dict[str, Profile], Meta(description="Named query-time choices; `default` is used unless asked")
    ] = msgspec.field(default_factory=dict)
    keys: Annotated[
        tuple[Key, ...], Meta(description="API keys: name, secret, principals, write, judge", extra={"secret": True})
    ] = ()
    token_vectors: Annotated[
        str,
        Meta(
            description="Model of a late_interaction stage whose token vectors are stored as passages are indexed; empty: none",
            extra={"accepts": "model of such a stage"},
        ),
    ] = ""
    run_worker: Annotated[
        bool, Meta(description="Whether `searchd serve` also indexes; off for replicas beside `indexer run`")
    ] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_vectors and self.token_vectors_stage is None:
            raise ValueError(
                "token_vectors names the model of a stage of kind late_interaction; no profile has that stage"
            )
        if len({key.secret for key in self.keys}) < len(self.keys):
            raise ValueError("keys: two have the same secret; each needs one of its own")

    @property
    def token_vectors_stage(self) -> Stage | None:
        """The stage whose model's token vectors are stored, None for none."""
        stages = [stage for profile in self.profiles.values() for stage in profile.stages]
        late = [one for one in stages if one.kind == "late_interaction" and one.model == self.token_vectors]
        return late[0] if late else None

    def profile(self, name: str) -> Profile | None:
        """Return the profile of this name, None if there is none; `default` always exists."""
        return self.profiles.get(name) or (Profile() if name == "default" else None)
