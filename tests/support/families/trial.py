"""Try one family: load it quantized, adapt, train, generate, evaluate and merge it."""

import json
import re
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from anima_exp.config import (
    ActivationCheckpointing,
    LoraConfig,
    LossNormalization,
    MergeTarget,
    ModelConfig,
    Precision,
    QuantConfig,
    Quantization,
    TargetModules,
)
from anima_exp.data.micro_batch import label_weights
from anima_exp.errors import AnimaError, ModelError
from anima_exp.evals.multiple_choice.likelihood import choice_logits
from anima_exp.libraries.peft_internals import lora_layers
from anima_exp.libraries.transformers_internals import attention_of
from anima_exp.merging.adapter import Adapter
from anima_exp.merging.base import Base
from anima_exp.merging.tensor_plan import plan
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing, selective_works
from anima_exp.model.adapter import add_lora, record_base_model
from anima_exp.model.base import load_base
from anima_exp.model.decoding import Sampling, decode
from anima_exp.model.dequantized_weights import dequantized_weight
from anima_exp.model.generation import inference_mode
from anima_exp.model.hashed_dropout import switch_off_own_dropout
from anima_exp.model.linear_layers import linear_layers
from anima_exp.model.varlen_attention import packing_obstacle
from anima_exp.training.gradient_check import reference_gradients
from anima_exp.training.step import GradientStep
from support.families.small_configs import VOCABULARY, CannotBuildError, first, small_model
from support.small_models import some_rows

PACKED, ROW_BY_ROW, REFUSED = "packed", "row by row", "refused"
NOT_BUILT, FAILED = "not built", "failed"
_ROUNDING = 3e-3  # relative to the norm of the gradients, in fp32


class WrongError(Exception):
    """A family computes other numbers than transformers; the text says which."""


@dataclass
class Result:
    """What became of a family."""

    result: str
    reason: str = ""
    quant: str = ""
    adapter: str = ""
    remarks: list[str] = field(default_factory=list)
    traceback: list[str] = field(default_factory=list)  # of a failure

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}


def try_family(family: str, folder: Path, *, thorough: bool = True) -> Result:
    """Return what becomes of `family`.

    Args:
        folder: an empty folder.
        thorough: whether to try activation checkpointing and merging too.
    """
    stage = "build"
    result = Result(FAILED)
    try:
        _write(family, folder / "base")
        stage = "load"
        model = _adapt(folder / "base", result)
        stage = "gradients"
        _check_gradients(model, result, thorough=thorough)
        stage = "generate"
        _check_generation(model)
        stage = "evaluate"
        _check_choices(model)
        if thorough:
            stage = "merge"
            _check_merge(model, folder, result)
    except CannotBuildError as error:
        return Result(NOT_BUILT, str(error))
    except AnimaError as error:
        return Result(REFUSED, _reason(error))
    except Exception as error:  # what the list is there to find
        result.reason = f"{stage}: {type(error).__name__}: {first(error)}"
        result.traceback = traceback.format_exc().splitlines()[-14:]
        return result
    obstacle = packing_obstacle(model)
    result.result, result.reason = (ROW_BY_ROW, obstacle) if obstacle else (PACKED, "")
    return result


def _reason(error: Exception) -> str:
    """Return an error without the folder, and without figures that differ between machines."""
    text = re.sub(r"^(model\.source=)?/\S+: ", "", str(error))
    return re.sub(r" \(ours differ by [^)]*\)", "", text)


def _write(family: str, folder: Path) -> None:
    model = small_model(family)
    try:
        output = model.eval()(input_ids=torch.arange(3, 12)[None], use_cache=False)
    except Exception as error:
        raise CannotBuildError(f"{type(error).__name__}: {first(error)}") from error
    if not output.logits.isfinite().all():
        raise CannotBuildError("its random weights compute logits that are not finite")
    model.save_pretrained(folder)


def _load(folder: Path, result: Result) -> Any:
    for kind in (Quantization.nf4, Quantization.none):
        quant = QuantConfig(kind, True, Precision.fp32, cache_quantized=False)
        result.quant = kind.value
        try:
            return load_base(ModelConfig("small", str(folder)), quant, precision=Precision.fp32)
        except ModelError as error:
            if kind is Quantization.none or "quant=" not in str(error):
                raise
    raise AssertionError


# The layers to leave out, if PEFT refuses those of a set: out_proj, which Mamba's kernels read
# directly, and the names that experts in one tensor have too.
_LEFT_OUT = (
    {"out_proj"},
    {"out_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj"},
)


def _adapt(folder: Path, result: Result) -> Any:
    """Load the base and adapt all of its linear layers, or as many as can be."""
    ways = [(TargetModules.all_linear, set()), (TargetModules.attention, set())]
    ways += [(TargetModules.named, left_out) for left_out in _LEFT_OUT]
    error: ModelError | None = None
    for which, left_out in ways:
        model = _load(folder, result)
        names = None
        if left_out:
            names = sorted({one.leaf for one in linear_layers(model) if one.seen} - left_out)
        result.adapter = (
            f"lora.target_modules=named lora.modules=[{','.join(names)}]"
            if names
            else f"lora={which.value}"
        )
        lora = LoraConfig(target_modules=which, modules=names, rank=4, dropout=0.0)
        try:
            model = add_lora(model, lora)
        except ModelError as refusal:
            error = error or refusal  # the one that a user meets first
            continue
        break
    else:
        assert error is not None
        raise error
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def _check_gradients(model: Any, result: Result, *, thorough: bool) -> None:
    switch_off_own_dropout(model)
    model.train()
    rows = some_rows()
    keys = lora_linear.install(model)
    weights = label_weights(rows, LossNormalization.token)
    loss, theirs = reference_gradients(model, rows, weights), _gradients(model)
    if reference_gradients(model, rows, weights) != loss:
        result.remarks.append("its router draws random numbers in training")
        model.eval()
    model.zero_grad()
    if not model.training:
        loss, theirs = reference_gradients(model, rows, weights), _gradients(model)
    step = GradientStep(
        model, keys, budget=1000, precision=Precision.fp32, average=LossNormalization.token, seed=0,
        backward=torch.Tensor.backward, say=print,
    )  # fmt: skip
    for how in ActivationCheckpointing if thorough else (ActivationCheckpointing.none,):
        try:
            apply_activation_checkpointing(model, how)
        except ModelError:
            if (none := "no activation checkpointing") not in result.remarks:
                result.remarks.append(none)
            continue
        if how is ActivationCheckpointing.selective and not selective_works(model, Precision.fp32):
            result.remarks.append("no selective activation checkpointing")
            continue
        found = float(step(rows, number=0))
        ours = _gradients(model)
        if abs(found - loss) > _ROUNDING * abs(loss):
            raise WrongError(f"checkpointing {how.value}: the loss is {found}, not {loss}")
        apart = float((ours - theirs).norm() / theirs.norm())
        if not apart < _ROUNDING:
            raise WrongError(f"checkpointing {how.value}: gradients are {100 * apart:.2g} % apart")
    apply_activation_checkpointing(model, ActivationCheckpointing.none)


def _gradients(model: Any) -> torch.Tensor:
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        raise WrongError(f"{len(without)} trained weights have no gradient: {without[0]}")
    found = [p.grad.flatten().double() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(found)


class _Ids:
    """A tokenizer that writes token ids."""

    pad_token_id, eos_token_id = 0, 2

    def decode(self, ids: list[int], **_: Any) -> str:
        return " ".join(map(str, ids))


def _prompts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    beginning = random.integers(3, VOCABULARY, 12)
    return [np.concatenate([beginning, random.integers(3, VOCABULARY, n)]) for n in (1, 9, 4)]


def _check_generation(model: Any) -> None:
    how = Sampling(max_new_tokens=6)
    prompts = [prompt.tolist() for prompt in _prompts()]
    with inference_mode(model, Precision.fp32):
        together = decode(model, _Ids(), prompts, how)
        alone = [decode(model, _Ids(), [prompt], how)[0] for prompt in prompts]
        slowly = [_without_cache(model, prompt, len(one.text.split()))
                  for prompt, one in zip(prompts, alone, strict=True)]  # fmt: skip
    if together != alone:
        raise WrongError(f"a batch generates {together}, and rows alone {alone}")
    if [one.text for one in alone] != slowly:
        raise WrongError(f"with a cache it generates {alone}, and without one {slowly}")


def _without_cache(model: Any, prompt: list[int], count: int) -> str:
    ids = [*prompt]
    for _ in range(count):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    return " ".join(map(str, ids[len(prompt) :]))


def _check_choices(model: Any) -> None:
    rows, ids = _prompts(), list(range(VOCABULARY))
    with inference_mode(model, Precision.fp32):
        found = choice_logits(model, rows, ids, batch_tokens=100_000)
        theirs = torch.cat(
            [model(input_ids=torch.tensor(row)[None], use_cache=False).logits[:, -1].float()
             for row in rows]
        )[:, ids]  # fmt: skip
    if not torch.allclose(found, theirs, atol=1e-3, rtol=1e-3):
        apart = float((found - theirs).abs().max())
        raise WrongError(f"choices differ by {apart:.2g} from those of rows alone")


def _check_merge(model: Any, folder: Path, result: Result) -> None:
    """Compare the merged model, read from its files, with the model in memory."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    base = ModelConfig("small", str(folder / "base"))
    record_base_model(model, base)
    model.save_pretrained(folder / "adapter")
    quant = QuantConfig(Quantization(result.quant), True, Precision.fp32, cache_quantized=False)
    target = MergeTarget.dequantized if quant.is_4bit else MergeTarget.base
    config: Any = SimpleNamespace(
        model=base, quant=quant, target=target, dtype=Precision.fp32, max_shard_gib=4.0,
        trainer=SimpleNamespace(precision=Precision.fp32),
    )  # fmt: skip
    try:
        pieces = plan(config, Base.of(base), Adapter.of(str(folder / "adapter")))
    except ModelError:
        result.remarks.append("`merge` refuses it")
        return
    (folder / "merged").mkdir()
    tensors = {piece.name: pieces.merged(piece) for piece in pieces.pieces}
    save_file(tensors, folder / "merged" / "model.safetensors", metadata={"format": "pt"})
    written = (folder / "base" / "config.json").read_text(encoding="utf-8")
    (folder / "merged" / "config.json").write_text(json.dumps(json.loads(written)))
    attention = attention_of(model.config.get_text_config())
    merged = AutoModelForCausalLM.from_pretrained(
        folder / "merged", dtype=torch.float32, attn_implementation=attention
    ).eval()
    ids = torch.as_tensor(_prompts()[1])[None]
    with torch.no_grad(), inference_mode(model, Precision.fp32):
        ours, theirs = (one(input_ids=ids, use_cache=False).logits for one in (merged, model))
    apart = float((ours - theirs).norm() / theirs.norm())
    # An indexer may choose other tokens for the last digit of a weight, so weights decide then.
    if apart > _ROUNDING and not _same_weights(model, merged):
        raise WrongError(f"the merged model's logits are {100 * apart:.2g} % apart")


def _same_weights(model: Any, merged: Any) -> bool:
    """Return whether each adapted layer has the weight of the merged model: W + scaling * B A."""
    weights = merged.state_dict()
    return all(
        torch.allclose(
            dequantized_weight(layer.base_layer, torch.float32) + layer.get_delta_weight("default"),
            weights[f"{name.removeprefix('base_model.model.')}.weight"],
            atol=1e-5,
        )
        for name, layer in lora_layers(model)
        if isinstance(layer.base_layer, torch.nn.Linear)
    )
