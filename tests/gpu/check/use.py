"""Generate, evaluate and merge: whole commands, and the speed of an answer at 7B."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from check.rows import Row, Rows
from check.runs import TINY, Done, command, train
from check.speed import GIB, clean
from check.timing import wait

NEW_TOKENS = 48


def measure(rows: Rows, work: Path) -> None:
    run = work / "runs" / "GPU_bf16"
    if not (run / "record.json").exists():
        train(run, [*TINY, "trainer.precision=bf16"])
    for name, settings in {
        "generate": (
            "temperature=0",
            "max_new_tokens=32",
            "prompt=从桃子、芒果、柠檬、葡萄、苹果中取出第三个。",
        ),
        "evaluate": ("evals=[heldout,choices]",),
        "merge": (f"out={work / 'runs' / 'merged'}",),
    }.items():
        done = command(name, f"run={run}", *settings, folder=run)
        rows.attempt("command", {"command": name}, _said, done)
    rows.attempt("answers", {"shape": "7b"}, _answers, rows, "7b")


def _said(done: Done) -> Row:
    if done.status:
        raise RuntimeError(f"status {done.status}: {done.said}")
    return {"seconds": round(done.seconds, 1), "said": re.sub(r"\s+", " ", done.said)[-300:]}


def _answers(rows: Rows, shape: str) -> None:
    """Write a row for each batch size and choice of attention."""
    from material import composed
    from true_shapes import random_base

    from anima_exp.model.base import device
    from anima_exp.model.tokenizer import load_tokenizer

    clean()
    tokenizer = load_tokenizer(composed([]).model)
    model = random_base(shape, device=device(), dtype=torch.bfloat16)
    for attention, context in (
        ("as the project chooses", nullcontext),
        ("without cuDNN", _without_cudnn),
        ("cuDNN first", _cudnn_first),  # last: it may take a second a token
    ):
        for batch in (1, 16):
            case: Row = {"shape": shape, "batch": batch, "attention": attention}
            # On a hollow GPU, and on GPUs that are too old, cuDNN has no attention.
            case["may_fail"] = attention == "cuDNN first"
            rows.attempt("answer", case, _speed, model, tokenizer, batch, context)


def _speed(model: Any, tokenizer: Any, batch: int, context: Any) -> Row:
    """Return the speed of the first batch of some lengths, and of the same lengths again."""
    from anima_exp.config import Precision
    from anima_exp.model.decoding import Sampling, decode
    from anima_exp.model.generation import inference_mode

    vocabulary = len(tokenizer)
    prompts = [[3 + (7 * row + place) % (vocabulary - 3) for place in range(90)]
               for row in range(batch)]  # fmt: skip
    seconds = []
    tokens = 0
    with inference_mode(model, Precision.bf16), context():
        for _ in range(2):
            wait()
            begun = time.perf_counter()
            answers = decode(model, tokenizer, prompts, Sampling(NEW_TOKENS))
            wait()
            seconds.append(time.perf_counter() - begun)
            tokens = sum(answer.tokens for answer in answers)
    return {
        "tokens_a_second": tokens / seconds[1],
        "first_seconds": seconds[0],
        "again_seconds": seconds[1],
        "tokens": tokens,
        "allocated_gib": torch.cuda.max_memory_allocated() / GIB
        if model.device.type == "cuda"
        else None,
    }


@contextmanager
def _cudnn_first() -> Iterator[None]:
    # In the order that torch itself prefers on Hopper and later.
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION,
             SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]  # fmt: skip
    with sdpa_kernel(kinds, set_priority=True):
        yield


@contextmanager
def _without_cudnn() -> Iterator[None]:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(kinds):
        yield
