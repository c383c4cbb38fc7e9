"""Tokenize the rows of a source once, and keep the token ids in the cache.

The cache key covers everything that the ids depend on: the rows, the tokenizer, the recipe and the
source text of its module. Lengths, labels and the split are applied when the ids are read, so they
cost nothing to change.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import BadRow, DataConfig
from anima_exp.data import formats
from anima_exp.data.apply_recipe import Given, applied, nothing, only_examples, tokenized_once
from anima_exp.data.encode import TextEncoder
from anima_exp.data.example import Example
from anima_exp.data.formats import Recipe
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta, Tokens, TokenWriter, key, open_tokens
from anima_exp.events import working

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 1000  # examples tokenized in one call, which uses all cores
_BATCH_CHARACTERS = 4_000_000  # of one call; a tokenizer needs about 70 bytes for each


def tokenize(
    source: Source, config: DataConfig, tokenizer: "PreTrainedTokenizerBase", *, cache: Path
) -> Tokens:
    """Return the token ids of every row, from the cache if it has them.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
        ConfigError: if there is no such recipe.
    """
    recipe = formats.recipe(config.recipe)
    folder = cache / "tokens" / key(source.fingerprint, recipe, tokenizer, named=config.recipe)
    stop = config.on_bad_row is BadRow.error
    build = partial(_build, source, recipe, tokenizer, stop_at_bad_row=stop)
    return tokenized_once(folder, open_tokens, build, config.on_bad_row)


def _build(
    source: Source,
    recipe: Recipe,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    target: Path,
    stop_at_bad_row: bool,
) -> Tokens:
    encoder = TextEncoder(tokenizer)
    with TokenWriter(target) as draft, working("tokenizing", source.name) as advance:
        pairs = pairs_of(source, recipe, draft.meta, encoder, stop_at_bad_row=stop_at_bad_row)
        for batch in batches(pairs):
            ids = ids_of(encoder, batch)
            draft.add(
                (row, encoder.begin + prompt, response + encoder.end)
                for (row, _), prompt, response in zip(
                    batch, ids[: len(batch)], ids[len(batch) :], strict=True
                )
            )
            advance(len(batch))
        if not len(draft):
            raise nothing(source, draft.meta)
        return draft.commit()


def batches(pairs: Iterator[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    """Yield the examples in batches that a tokenizer can encode in one call."""
    batch: list[tuple[int, Example]] = []
    characters = 0
    for row, pair in pairs:
        batch.append((row, pair))
        characters += len(pair.prompt) + len(pair.response)
        if len(batch) == _BATCH or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def ids_of(encoder: TextEncoder, batch: list[tuple[int, Example]]) -> list[list[int]]:
    """Return the ids of all prompts, then those of all responses."""
    texts = [pair.prompt for _, pair in batch] + [pair.response for _, pair in batch]
    special_tokens = [pair.special_tokens for _, pair in batch] * 2
    if not any(special_tokens):
        return encoder.encode(texts)
    ids: dict[int, list[int]] = {}
    for special in (False, True):
        chosen = [number for number, flag in enumerate(special_tokens) if flag is special]
        encoded = encoder.encode([texts[number] for number in chosen], special_tokens=special)
        ids |= zip(chosen, encoded, strict=True)
    return [ids[number] for number in range(len(texts))]


def pairs_of(
    source: Source, recipe: Recipe, meta: Meta, encoder: TextEncoder, *, stop_at_bad_row: bool
) -> Iterator[tuple[int, Example]]:
    """Yield each example with the number of its row, without BOS and EOS in its texts."""

    def checked(given: Given) -> list[tuple[Example, bool]]:
        pairs = [(encoder.without_bos_and_eos(one), one) for one in only_examples(given)]
        return [(pair, pair is not original) for pair, original in pairs]

    for number, pairs in applied(
        source, recipe, meta, stop_at_bad_row=stop_at_bad_row, then=checked
    ):
        for pair, had_ends in pairs:
            meta.ends += had_ends
            if not pair.special_tokens:
                token = encoder.spelled(pair.prompt) or encoder.spelled(pair.response)
                if token:
                    meta.first_spelled = meta.first_spelled or f"{source.locate(number)}: {token}"
                    meta.spelled += 1
            yield number, pair
