"""Tokenizers of the true kinds, trained on a few lines: normalisation, splitting, control tokens and pair templates are
those of the published models, only the vocabularies are small.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LINES = [
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided.",
    'Note that the answer can only be "yes" or "no". Given a web search query, retrieve relevant passages.',
    "The argparse module parses command line options and writes usage messages. getopt does it as the C library.",
    "The turbine is lubricated by oil under pressure. A cat sat on a mat. system user assistant query: document: A: B:",
    "Query: how are command line options parsed Document: the passage begins with these words Relevant: true false",
    "yes no Yes No true false Relevant: instruction: 0 1 A longer passage about something else and then of another",
    *["yes", "no", "Yes", "No", "true", "false", "x yes", "x no", "x Yes", "x true", "x false", "x Relevant:"] * 40,
]


def byte_level(special: Sequence[str], plain: Sequence[str] = (), split: str | None = None) -> Tokenizer:
    """Return a BPE over bytes: GPT-2's splitting, or another's."""
    tokenizer = Tokenizer(models.BPE())
    inner = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    tokenizer.pre_tokenizer = (
        inner
        if split is None
        else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), behavior="isolated"), inner])
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return tokenizer


def qwen() -> Tokenizer:
    """Qwen2 and Qwen3: bytes, composed characters, chat tokens."""
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_level(control, ["<think>", "</think>"], QWEN_SPLIT)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def pieces(special: Sequence[str]) -> Tokenizer:
    """Return a BPE over pieces with byte fallback, as SentencePiece makes it: white space stands before a word only."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=list(special), show_progress=False)
    trained.train_from_iterator([*LINES, *(line.replace(" ", "\n") for line in LINES)], trainer)
    state = json.loads(trained.to_str())["model"]
    vocabulary = dict(state["vocab"])
    for token in [*(f"<0x{byte:02X}>" for byte in range(256)), "▁▁", "▁▁▁▁", "\n"]:
        vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(merge) for merge in state["merges"]] + [("▁", "▁"), ("▁▁", "▁▁")]
    model = models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def gemma() -> Tokenizer:
    """Gemma: no space is put before a text."""
    tokenizer = pieces(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    bos = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[bos]
    )
    return tokenizer


def llama() -> Tokenizer:
    """Llama 2: a space is put before every text."""
    tokenizer = pieces(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def unigram(special: Sequence[str], unk: str, single: str, pair: str) -> Tokenizer:
    """Return a Unigram over words as SentencePiece makes it, with the templates of a text and of a pair."""
    words = Counter(f"▁{word}" for line in LINES for word in line.split())
    letters = Counter(letter for word in words for letter in word)
    halves = Counter(half for word in words if len(word) > 5 for half in (word[:4], word[4:]))
    seen = letters | halves | words
    vocabulary = [(token, 0.0) for token in special] + [
        (piece, math.log(count / seen.total()) - 2 * (len(piece) == 1)) for piece, count in sorted(seen.items())
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=list(special).index(unk), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(special))
    used = {token: tokenizer.token_to_id(token) for token in special}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=list(used.items())
    )
    return tokenizer


def t5() -> Tokenizer:
    """T5: words, an end token after each text."""
    return unigram(["<pad>", "</s>", "<unk>"], "<unk>", "$A </s>", "$A </s> $B </s>")


def xlm_roberta() -> Tokenizer:
    """XLM-RoBERTa: two separators between the texts, no segment ids."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return unigram(special, "<unk>", "<s> $A </s>", "<s> $A </s> </s> $B </s>")


def deberta() -> Tokenizer:
    """DeBERTa-v2 and -v3: words, with segment ids that the model may not read."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    return unigram(special, "[UNK]", "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


def roberta() -> Tokenizer:
    """RoBERTa: bytes, two separators between the texts."""
    tokenizer = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    ends = [(token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def modernbert() -> Tokenizer:
    """ModernBERT: GPT-NeoX's bytes in BERT's template, without segment ids."""
    tokenizer = byte_level(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = bert_template(tokenizer)
    return tokenizer


def bert() -> Tokenizer:
    """BERT and ELECTRA: word pieces, segment ids."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = bert_template(tokenizer)
    return tokenizer


def bert_template(tokenizer: Tokenizer) -> processors.TemplateProcessing:
    """Return BERT's template of texts and pairs."""
    used = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=used
    )


BERT_NAMES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
ROBERTA_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>",
                 "pad_token": "<pad>", "mask_token": "<mask>"}  # fmt: skip
CHAT_NAMES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
KINDS: dict[str, tuple[Callable[[], Tokenizer], str, dict[str, str]]] = {
    "qwen": (qwen, "Qwen2Tokenizer", CHAT_NAMES),
    "gemma": (
        gemma,
        "GemmaTokenizer",
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
    ),
    "llama": (llama, "LlamaTokenizer", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "t5": (t5, "T5Tokenizer", {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}),
    "xlm-roberta": (xlm_roberta, "XLMRobertaTokenizer", ROBERTA_NAMES),
    "roberta": (roberta, "RobertaTokenizer", ROBERTA_NAMES),
    "deberta": (deberta, "DebertaV2Tokenizer", BERT_NAMES),
    "modernbert": (modernbert, "PreTrainedTokenizerFast", BERT_NAMES),
    "bert": (bert, "BertTokenizer", BERT_NAMES),
    "electra": (bert, "ElectraTokenizer", BERT_NAMES),
}
"""name -> (how it is trained, its class in tokenizer_config.json, its named tokens)."""
INPUTS = {"bert": True, "electra": True, "deberta": True}
"""Which give segment ids."""


def write_tokenizer(name: str, folder: Path, longest: int | None = None) -> Tokenizer:
    """Write a tokenizer as its published models have it; return it."""
    build, class_name, named = KINDS[name]
    tokenizer = build()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    inputs = ["input_ids", *(["token_type_ids"] if INPUTS.get(name) else []), "attention_mask"]
    config = {"tokenizer_class": class_name, "model_input_names": inputs, **named}
    if longest is not None:
        config["model_max_length"] = longest
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer
