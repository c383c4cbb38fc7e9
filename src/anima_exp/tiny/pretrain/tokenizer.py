"""In: the text of the world; out: a byte-level BPE tokenizer that reads any Unicode losslessly."""

from collections.abc import Iterator
from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from anima_exp.tiny import phrases
from anima_exp.tiny.pretrain.corpus import corpus, guanaco_prompt
from anima_exp.tiny.world import tasks

VOCABULARY = 1024
SPECIALS = ("<pad>", "<s>", "</s>")
# Pieces that no token crosses. The marks of Guanaco's prompt and of a choice are one piece each,
# digits stand alone (so that arithmetic works on places), a Latin word keeps its leading space,
# punctuation its trailing one (so that a word looks the same anywhere in a list), and Chinese
# words of the world keep clear of the phrases around them.
PIECES = "|".join(
    (
        "### (?:Human|Assistant): ",
        r"\n[A-D]\. ",
        *sorted(phrases.GLOSSARY.values(), key=len, reverse=True),
        r"\p{N}",
        r"\p{Han}+?(?=$|[^\p{Han}]|" + "|".join(phrases.GLOSSARY.values()) + ")",
        r" ?\p{L}+",
        r"[^\s\p{L}\p{N}#]+ ?",
        r"#+",
        r"\s",
    )
)


def build_tokenizer(rows_per_language: int = 20_000) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(world_text(rows_per_language), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="right",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def world_text(rows_per_language: int) -> Iterator[str]:
    for language in phrases.LANGUAGES:
        for task in islice(tasks(language, seed=0), rows_per_language):
            yield guanaco_prompt(task.instruction) + task.answer
    for example in islice(corpus(seed=0), rows_per_language // 4):
        yield example.prompt + example.response
