"""Generate an answer for each prompt of a batch, token by token, with a key-value cache."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_internals import (
    cache_argument,
    cache_in,
    can_drop_rows,
    keep_rows,
    keeps_logits,
)
from anima_exp.model.architecture_check import masks_padding, reads_cache
from anima_exp.model.base_config import context_length
from anima_exp.model.tokenizer import check_ids

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sampling:
    """How the tokens of an answer are sampled, and where it ends."""

    max_new_tokens: int
    temperature: float = 0.0  # 0 = greedy
    top_p: float = 1.0
    stop: tuple[str, ...] = ()  # texts that end an answer and do not belong to it


def sample_next_tokens(
    logits: torch.Tensor, how: Sampling, rngs: Sequence[random.Random]
) -> list[int]:
    """Sample one token id for each row of `logits` [batch, vocabulary].

    Each row has its own random generator and draws from it once per token, so its samples do not
    depend on the other rows in the batch.

    Raises:
        ModelError: if a logit is NaN.
    """
    if how.temperature == 0:
        chosen = logits.argmax(-1)
    else:
        # In fp64: a probability that is rounded up would move the border between two tokens.
        probabilities = (logits.double() / how.temperature).softmax(-1)
        ranked, order = probabilities.sort(descending=True, stable=True)
        kept = ranked.cumsum(-1) - ranked < how.top_p  # the first is always kept
        probabilities = probabilities * torch.zeros_like(kept).scatter(-1, order, kept)
        # The sum runs in the order of ids, not of probabilities: two tokens of almost equal
        # probability swap ranks with the last digit of a logit, which depends on the batch.
        cumulative = probabilities.cumsum(-1)
        drawn = on_device([[1 - rng.random()] for rng in rngs], cumulative)  # in (0, 1]
        chosen = (cumulative < drawn * cumulative[:, -1:]).sum(-1)
    # One transfer for all rows, so that the CPU waits for the GPU once per token.
    *tokens, broken = torch.cat([chosen, logits.isnan().any()[None].to(chosen.dtype)]).tolist()
    if broken:
        raise ModelError(
            "The model computes NaN: its weights are damaged, or too large for "
            "trainer.precision. Try trainer.precision=fp32."
        )
    return tokens


def on_device(values: Sequence[Any], like: torch.Tensor) -> torch.Tensor:
    """Return `values` with the type and device of `like`, without waiting for a GPU.

    A copy from ordinary memory waits until the GPU has finished all earlier work. A copy from
    pinned memory does not.
    """
    here = torch.tensor(values, dtype=like.dtype)
    if like.is_cuda:
        return here.pin_memory().to(like.device, non_blocking=True)
    return here.to(like.device)


Watch = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    text: str  # without special tokens, and without the stop string
    finish: str  # stop: the model ended it; stop_string; length: it was truncated
    tokens: int  # without the end-of-sequence token


def decode(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[int]],
    how: Sampling,
    *,
    stop_ids: Sequence[int] = (),
    seeds: Sequence[int] | None = None,
    watch: Watch | None = None,
    world: ProcessGroup = SINGLE_PROCESS,
) -> list[Answer]:
    """Continue each prompt until the model ends it, a stop string occurs, or a limit is reached.

    Prompts are padded on the left, so all answers start at the same column. Padding is masked and
    has no position, so in fp32 an answer equals the one that the prompt gets alone. Narrower types
    round differently in another batch. Call it inside `generation.inference_mode`.

    Args:
        stop_ids: more tokens that end an answer, besides those of `end_tokens`.
        seeds: the seed of each row's random generator; not needed for greedy decoding.
        watch: called with the text so far after every token; for one prompt only.
        world: in lockstep all ranks take the tokens of rank 0. Different types of GPU round
            differently, and a rank that ended an answer earlier would leave the others waiting.

    Raises:
        ModelError: if a prompt fills the model's context, or the batch does not fit into memory.
    """
    assert watch is None or len(prompts) == 1
    if len({len(prompt) for prompt in prompts}) > 1 and not masks_padding(model):
        return [
            decode(model, tokenizer, [prompt], how, stop_ids=stop_ids, seeds=[seed], world=world)[0]
            for prompt, seed in zip(prompts, seeds or [0] * len(prompts), strict=True)
        ]
    check_ids(prompts, model.config.get_text_config().vocab_size)
    limits = _new_token_limits(model, prompts, how.max_new_tokens)
    ends = end_tokens(model, tokenizer) | {*stop_ids}
    rows = [
        _Row(tokenizer, how, ends, limit, random.Random(seed))
        for limit, seed in zip(limits, seeds or [0] * len(prompts), strict=True)
    ]
    try:
        for _ in _steps(model, prompts, rows, how, world, pad=tokenizer.pad_token_id):
            if watch:
                watch(rows[0].text())
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"A batch of {len(prompts)} answers does not fit on this GPU: {first_line(error)} "
            "Lower batch_size or max_new_tokens."
        ) from error
    return [row.answer() for row in rows]


def _steps(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[Sequence[int]],
    rows: "list[_Row]",
    how: Sampling,
    world: ProcessGroup,
    *,
    pad: int,
) -> Any:
    """Add the next token to every row and yield, until all rows have ended."""
    ids, mask = left_padded(prompts, pad)
    length = ids.shape[1]
    # transformers reads every mask that it gets, which waits for the GPU. So none is passed if all
    # prompts have the same length.
    unpadded = bool(mask.all())
    # The mask covers the longest possible answer; each step uses a longer part of it.
    longest = max(row.max_tokens for row in rows)
    mask = torch.cat([mask, mask.new_ones(len(rows), longest)], dim=1).to(model.device)
    ids = ids.to(model.device)
    positions = (mask[:, :length].cumsum(-1) - 1).clamp(min=0)
    ends_at = [len(prompt) - 1 for prompt in prompts]  # the position of each row's last token
    only_last = keep_last(model, 1)
    as_cache = cache_argument(base_of(model))
    cached = reads_cache(model)
    past, here = None, rows  # the rows in the cache; one that has ended is fed padding
    while True:
        out = model(
            input_ids=ids,
            attention_mask=None if unpadded else mask[:, :length],
            position_ids=positions,
            use_cache=cached,
            **{as_cache: past},
            **only_last,
        )
        past = cache_in(out) if cached else None
        tokens = world.broadcast_in_lockstep(
            sample_next_tokens(out.logits[:, -1].float(), how, [row.rng for row in here])
        )
        for row, token in zip(here, tokens, strict=True):
            row.add(token)
        yield
        going = [number for number, row in enumerate(here) if row.finish is None]
        if not going:
            return
        length += 1
        # A row that has ended keeps its last position: its padding is not read.
        ends_at = [at + (row.finish is None) for at, row in zip(ends_at, here, strict=True)]
        if past is not None and 2 * len(going) <= len(here) and can_drop_rows(past):
            chosen = on_device(going, ids)
            keep_rows(past, chosen)
            mask = mask[chosen]
            here = [here[number] for number in going]
            ends_at = [ends_at[number] for number in going]
        last = [pad if row.finish else row.ids[-1] for row in here]
        if past is None:  # a family without such a cache (Mamba, RWKV) recomputes the whole row
            ids = torch.cat([ids, on_device(last, ids)[:, None]], dim=1)
            positions = (mask[:, :length].cumsum(-1) - 1).clamp(min=0)
        else:
            ids, positions = on_device([last, ends_at], ids)[..., None]


class _Row:
    """One answer as it grows."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        how: Sampling,
        ends: set[int],
        max_tokens: int,
        rng: random.Random,
    ) -> None:
        self.tokenizer, self.ends, self.max_tokens, self.rng = tokenizer, ends, max_tokens, rng
        self.stop = how.stop
        # Every token but a special one is at least one byte, so a stop string that ends now is in
        # this many last tokens.
        self.tail = max((len(text.encode()) for text in how.stop), default=0) + 8
        self.ids: list[int] = []
        self.finish: str | None = None

    def add(self, token: int) -> None:
        if self.finish is not None:
            return
        if token in self.ends:
            self.finish = "stop"
            return
        self.ids.append(token)
        if self.stop and any(stop in self._decoded(self.ids[-self.tail :]) for stop in self.stop):
            self.finish = "stop_string"
        elif len(self.ids) >= self.max_tokens:
            self.finish = "length"

    def text(self) -> str:
        text = self._decoded(self.ids)
        found = [at for stop in self.stop if (at := text.find(stop)) >= 0]
        return text[: min(found)] if found else text

    def answer(self) -> Answer:
        assert self.finish is not None
        return Answer(self.text(), self.finish, len(self.ids))

    def _decoded(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def end_tokens(
    model: "PreTrainedModel | PeftModel", tokenizer: "PreTrainedTokenizerBase"
) -> set[int]:
    """Return the end tokens of the tokenizer and of the model's generation config.

    Chat models end a turn with another token than the tokenizer's end of sequence.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return {token for token in (tokenizer.eos_token_id, *several) if token is not None}


def left_padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both [batch, T] with T the longest prompt."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for number, prompt in enumerate(prompts):
        ids[number, longest - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.long)
        mask[number, longest - len(prompt) :] = 1
    return ids, mask


def _new_token_limits(
    model: "PreTrainedModel | PeftModel", prompts: Sequence[Sequence[int]], most: int
) -> list[int]:
    """Return the largest number of new tokens for each prompt."""
    limit = context_length(model.config)
    longest = max(len(prompt) for prompt in prompts)
    if limit is not None and longest >= limit:
        raise ModelError(
            f"A prompt of {longest} tokens leaves no space for an answer: "
            f"{model.config.name_or_path} reads at most {limit}. Shorten the prompt."
        )
    return [most if limit is None else min(most, limit - len(prompt)) for prompt in prompts]


def keep_last(model: "PreTrainedModel | PeftModel", count: int) -> dict[str, int]:
    """Return forward arguments for logits of the last positions only, if the model takes them.

    Logits of whole prompts are large.
    """
    return {"logits_to_keep": count} if keeps_logits(base_of(model)) else {}
