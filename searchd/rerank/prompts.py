"""PROMPTS: how a causal model is asked, by the name that `prompt` of a stage gives. Nothing is guessed from a model's name.

A prompt is a list of segments. Each is tokenised alone, as the model's published code does it, so that joined ids are
what the model was trained on. Read by `prompted.py`; MONO_T5 asks the one kind of sequence-to-sequence model.
"""

from __future__ import annotations

from dataclasses import dataclass

BOS = "{bos}"
"""A segment that is the tokenizer's token for the beginning of a text."""
EOS = "{eos}"
"""Likewise, its end."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads around query and passage, and where its answer is."""

    segments: tuple[str, ...]
    """Texts with {query}, {document} (in one of them, once) and {instruction}; each is tokenised alone."""
    yes: str = ""
    """The answer whose logit is the score; empty: the model has a score head."""
    no: str = ""
    """The answer whose logit is taken away from it; empty: none."""
    scale: float = 1.0
    """By what the score is divided, so that its sigmoid is the probability that the maker documents."""
    instruction: str = ""
    """What {instruction} is where none is given."""
    instructed: tuple[str, ...] = ()
    """The segments where an instruction is given, if they differ."""
    stripped: bool = False
    """Whether query and passage lose the white space around them."""

    @property
    def takes_instruction(self) -> bool:
        """Whether an instruction changes what the model reads."""
        return bool(self.instruction or self.instructed)

    def asked(self, instruction: str) -> tuple[tuple[str, ...], str]:
        """Return the segments and the instruction in force."""
        segments = self.instructed if instruction and self.instructed else self.segments
        return segments, instruction or self.instruction


_QWEN_ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
_MXBAI_START = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
_MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment "
    "(0 for not relevant, 1 for relevant).\nRelevance:"
)

PROMPTS: dict[str, Prompt] = {
    # Source: model card of Qwen/Qwen3-Reranker-0.6B (format_instruction, process_inputs, compute_logits).
    "qwen3": Prompt(
        segments=(
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
            "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}",
            f"{_QWEN_ANSWER}<think>\n\n</think>\n\n",
        ),
        yes="yes",
        no="no",
        instruction="Given a web search query, retrieve relevant passages that answer the query",
    ),
    # Source: modeling code of zeroentropy/zerank-1 and -2 (query as system, document as user, both stripped; the logit of
    # "Yes" / 5). How it takes an instruction: zeroentropy.dev, prompting best practices for instruction-following rerankers.
    "zerank": Prompt(
        segments=(f"<|im_start|>system\n{{query}}<|im_end|>\n<|im_start|>user\n{{document}}{_QWEN_ANSWER}",),
        instructed=(
            "<|im_start|>system\n<query>{query}</query>\n<instruction>{instruction}</instruction><|im_end|>\n"
            f"<|im_start|>user\n{{document}}{_QWEN_ANSWER}",
        ),
        yes="Yes",
        scale=5.0,
        stripped=True,
    ),
    # Source: FlagEmbedding/inference/reranker/decoder_only/base.py.
    "bge-gemma": Prompt(
        segments=(BOS, "A: {query}", "\n", "B: {document}", "\n", "{instruction}"),
        yes="Yes",
        instruction="Given a query A and a passage B, determine whether the passage contains an answer to the query by "
        "providing a prediction of either 'Yes' or 'No'.",
    ),
    # Source: mxbai_rerank/mxbai_rerank_v2.py.
    "mxbai-v2": Prompt(
        segments=(
            _MXBAI_START,
            "query: {query}",
            "\n",
            "document: {document}",
            "\n",
            _MXBAI_TASK,
            _QWEN_ANSWER,
        ),
        instructed=(
            _MXBAI_START,
            "instruction: {instruction}\nquery: {query}",
            "\n",
            "document: {document}",
            "\n",
            _MXBAI_TASK,
            _QWEN_ANSWER,
        ),
        yes="1",
        no="0",
    ),
    # Source: texttron/tevatron, examples/rankllama/data.py.
    "rankllama": Prompt(segments=(BOS, "query: {query}", BOS, "document: {document}")),
}

MONO_T5 = Prompt(segments=("Query: {query} Document: {document} Relevant:", EOS), yes="true", no="false")
"""Source: castorini/pygaggle, pygaggle/model/tokenize.py (T5BatchTokenizer) and pygaggle/rerank/transformer.py (MonoT5)."""
