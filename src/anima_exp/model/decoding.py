"""One batch of prompts -> an answer each, token by token, over a cache of what was read before."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.transformers_internals import (
    cache_argument,
    cache_in,
    can_drop_rows,
    keep_rows,
    keeps_logits,
)
from anima_exp.model.architecture_check import masks_padding
from anima_exp.model.base_config import context_length
from anima_exp.model.forward import base_of
from anima_exp.model.tokenizer import check_ids

# Logits of the next token -> which one is taken, for each row of a batch by its own dice.


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn, and where it ends."""

    max_new_tokens: int
    temperature: float = 0.0  # 0 = greedy
    top_p: float = 1.0
    stop: tuple[str, ...] = ()  # texts that end an answer and are no part of it


def choose(logits: torch.Tensor, how: Sampling, dice: Sequence[random.Random]) -> list[int]:
    """One token id for each row of `logits` `[B, V]`.

    Each row has dice of its own and throws them once a token, so that what is drawn for a row
    does not depend on the rows beside it.

    Raises:
        ModelError: a logit is not a number.
    """
    if how.temperature == 0:
        chosen = logits.argmax(-1)
    else:
        # In fp64: a share that rounds up would move the edge between two tokens.
        shares = (logits.double() / how.temperature).softmax(-1)
        by_share, order = shares.sort(descending=True, stable=True)
        kept = by_share.cumsum(-1) - by_share < how.top_p  # the first always is
        shares = shares * torch.zeros_like(kept).scatter(-1, order, kept)
        # In the order of the ids, not of the shares: two tokens of almost the same share change
        # places with the last digit of a logit, which another batch computes differently.
        upto = shares.cumsum(-1)
        thrown = on_device([[1 - die.random()] for die in dice], upto)  # in (0, 1]
        chosen = (upto < thrown * upto[:, -1:]).sum(-1)
    # One transfer for all rows: a GPU is waited for once a token.
    *tokens, broken = torch.cat([chosen, logits.isnan().any()[None].to(chosen.dtype)]).tolist()
    if broken:
        raise ModelError(
            "The model computes NaN: its weights are damaged, or too large for "
            "trainer.precision. Try trainer.precision=fp32."
        )
    return tokens


def on_device(values: Sequence[Any], like: torch.Tensor) -> torch.Tensor:
    """Return `values` with the type and device of `like`, without waiting for a GPU.

    The copy of ordinary memory waits until the GPU has done all that came before it; the copy of
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
    finish: str  # stop: the model ended it; stop_string; length: it was cut
    tokens: int  # end of sequence left out


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    how: Sampling,
    *,
    seeds: Sequence[int] | None = None,
    watch: Watch | None = None,
    world: ProcessGroup = SINGLE_PROCESS,
) -> list[Answer]:
    """Continue each prompt until the model ends it, a stop string comes, or there is no room.

    Prompts are padded on the left, so that every answer begins at once; padding is masked and has
    no position, so an answer is what it would be alone (in fp32; a narrower type rounds
    differently in another batch). Call inside `inference`.

    Args:
        seeds: of each row's dice; not needed when greedy.
        watch: called with the text so far after every token; for one prompt only.
        world: in lockstep, all processes take the tokens of the first: two kinds of GPU round
            differently, and one that ends an answer earlier leaves the others waiting.

    Raises:
        ModelError: a prompt leaves no room in the model's context, or the batch none in memory.
    """
    assert watch is None or len(prompts) == 1
    if len({len(prompt) for prompt in prompts}) > 1 and not masks_padding(model):
        return [
            decode(model, tokenizer, [prompt], how, seeds=[seed], world=world)[0]
            for prompt, seed in zip(prompts, seeds or [0] * len(prompts), strict=True)
        ]
    check_ids(prompts, model.config.get_text_config().vocab_size)
    room = _room(model, prompts, how.max_new_tokens)
    ends = end_tokens(model, tokenizer)
    rows = [
        _Row(tokenizer, how, ends, most, random.Random(seed))
        for most, seed in zip(room, seeds or [0] * len(prompts), strict=True)
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
    model: Any,
    prompts: Sequence[Sequence[int]],
    rows: "list[_Row]",
    how: Sampling,
    world: ProcessGroup,
    *,
    pad: int,
) -> Any:
    """Give every row its next token, and yield; until all rows have ended."""
    ids, mask = left_padded(prompts, pad)
    length = ids.shape[1]
    # transformers looks into every mask that it gets, for which a GPU must be waited for.
    unpadded = bool(mask.all())
    # The mask of the longest answer there can be: each step takes a longer part of it.
    most = max(row.room for row in rows)
    mask = torch.cat([mask, mask.new_ones(len(rows), most)], dim=1).to(model.device)
    ids = ids.to(model.device)
    positions = (mask[:, :length].cumsum(-1) - 1).clamp(min=0)
    ends_at = [len(prompt) - 1 for prompt in prompts]  # the position of each row's last token
    only_last = keep_last(model, 1)
    as_cache = cache_argument(base_of(model))
    past, here = None, rows  # the rows in the cache; one that has ended is fed padding
    while True:
        out = model(
            input_ids=ids,
            attention_mask=None if unpadded else mask[:, :length],
            position_ids=positions,
            use_cache=True,
            **{as_cache: past},
            **only_last,
        )
        past = cache_in(out)
        tokens = world.broadcast_in_lockstep(
            choose(out.logits[:, -1].float(), how, [row.dice for row in here])
        )
        for row, token in zip(here, tokens, strict=True):
            row.add(token)
        yield
        going = [number for number, row in enumerate(here) if row.finish is None]
        if not going:
            return
        length += 1
        # Of a row that has ended, the last place: what is fed to it is not read.
        ends_at = [at + (row.finish is None) for at, row in zip(ends_at, here, strict=True)]
        if past is not None and 2 * len(going) <= len(here) and can_drop_rows(past):
            chosen = on_device(going, ids)
            keep_rows(past, chosen)
            mask = mask[chosen]
            here = [here[number] for number in going]
            ends_at = [ends_at[number] for number in going]
        last = [pad if row.finish else row.ids[-1] for row in here]
        if past is None:  # a family without such a cache (Mamba, RWKV) reads all of it again
            ids = torch.cat([ids, on_device(last, ids)[:, None]], dim=1)
            positions = (mask[:, :length].cumsum(-1) - 1).clamp(min=0)
        else:
            ids, positions = on_device([last, ends_at], ids)[..., None]


class _Row:
    """One answer as it grows."""

    def __init__(
        self, tokenizer: Any, how: Sampling, ends: set[int], room: int, dice: random.Random
    ) -> None:
        self.tokenizer, self.ends, self.room, self.dice = tokenizer, ends, room, dice
        self.stop = how.stop
        # A token is a byte at least, but for special ones: so many last tokens hold a stop string.
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
        elif len(self.ids) >= self.room:
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


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The tokenizer's end of sequence, and those that the base's own settings name besides.

    Chat models end a turn with a token of its own.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return {token for token in (tokenizer.eos_token_id, *several) if token is not None}


def left_padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, both `[B, T]` with T the longest prompt."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for number, prompt in enumerate(prompts):
        ids[number, longest - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.long)
        mask[number, longest - len(prompt) :] = 1
    return ids, mask


def _room(model: Any, prompts: Sequence[Sequence[int]], most: int) -> list[int]:
    limit = context_length(model.config)
    longest = max(len(prompt) for prompt in prompts)
    if limit is not None and longest >= limit:
        raise ModelError(
            f"A prompt of {longest} tokens leaves no space for an answer: "
            f"{model.config.name_or_path} reads at most {limit}. Shorten the prompt."
        )
    return [most if limit is None else min(most, limit - len(prompt)) for prompt in prompts]


def keep_last(model: Any, count: int) -> dict[str, int]:
    """Logits of the last positions alone, where a model can: those of whole prompts are large."""
    return {"logits_to_keep": count} if keeps_logits(base_of(model)) else {}
