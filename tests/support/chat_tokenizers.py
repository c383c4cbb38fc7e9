"""Small tokenizers of the kinds that chat models have, trained on a few sentences."""

from functools import cache

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "What is 2+2? It is 4.\n\nThe user asks, and the assistant answers.\n",
    "### Human: Hello!### Assistant: Hello, how are you? USER: hi ASSISTANT: Bye.",
    "system user assistant model tool\nThink of it.\n\n\nBe brief.\n\n\nSo.\n\n\n",
    "[INST] and [/INST]",
]
SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>",
)  # fmt: skip
# Llama 3's and Qwen's, but for English contractions.
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KINDS = ("bytes", "sentencepiece", "first", "greedy")


@cache
def chat_tokenizer(kind: str, bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    """Return a tokenizer with the tokens of every format.

    bytes: as Qwen's and Llama 3's. sentencepiece: as Llama 2's, which writes a space before every
    piece between special tokens. first: it writes one before the first piece alone, as Mistral's
    later ones. greedy: special tokens take the spaces after them, as Phi 3's.
    """
    tokenizer = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind in ("bytes", "greedy"):
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
    else:
        alphabet = [chr(code) for code in range(33, 127)] + ["▁", "\n", "é"]
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
        # SentencePiece joins no letters across a space or a line break, when it is trained.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split("\n", "isolated"),
                pre_tokenizers.Metaspace(prepend_scheme="never", split=True),
            ]
        )
    added = [
        AddedToken(name, special=True, normalized=False, rstrip=kind == "greedy")
        for name in ("<s>", "</s>", *SPECIAL)
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=added, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if kind == "sentencepiece":
        tokenizer.pre_tokenizer = None
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    if kind == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token="</s>")
