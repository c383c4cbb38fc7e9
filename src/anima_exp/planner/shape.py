"""Read from a config.json, or from a model in memory, the shape that memory and speed depend on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from anima_exp.errors import ModelError
from anima_exp.model.base_config import context_length
from anima_exp.model.target_modules import Linear

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Experts:
    """One stack of experts' matrices in a block."""

    name: str  # mlp.experts.gate_up_proj
    count: int  # matrices
    inputs: int
    outputs: int
    chosen: float  # how many of them one token passes through

    @property
    def weights(self) -> int:
        """Elements of all matrices."""
        return self.count * self.inputs * self.outputs

    @property
    def active(self) -> float:
        """Elements of the matrices that one token passes through."""
        return self.chosen * self.inputs * self.outputs


@dataclass(frozen=True)
class Block:
    """Consecutive decoder blocks that are all alike."""

    count: int
    linears: tuple[Linear, ...]  # in the model's order: query, key, value, out, gate, up, down
    norms: int  # elements of one block's normalization weights
    head_norms: bool = False  # queries and keys are normalized too, as in Qwen3
    other: int = 0  # elements of all other weights
    experts: tuple[Experts, ...] = ()  # in the model's order: gate and up, down
    first: int = 0  # the number of the first of them


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model. Weights are counted in elements."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    blocks: tuple[Block, ...]
    embeddings: int  # of tokens, and in old models of positions too
    head: int  # the output matrix; 0 if it is tied to the embeddings
    norms: int  # the normalization after the last block
    other: int = 0  # all other weights outside the blocks
    positions: int | None = None  # the largest number of tokens in a row
    prefix: str = "model.layers."  # a block's name without its number

    @property
    def layers(self) -> int:
        return sum(block.count for block in self.blocks)

    @property
    def linear_weights(self) -> int:
        """Elements of all matrices of the blocks, which are the weights that are quantized."""
        return sum(b.count * sum(one.weights for one in b.linears) for b in self.blocks)

    @property
    def active_experts(self) -> float:
        """Elements of the stacked experts that one token passes through."""
        return sum(block.count * sum(one.active for one in block.experts) for block in self.blocks)

    @property
    def expert_weights(self) -> int:
        """Elements of all stacked experts, which are quantized to 4 bits."""
        return sum(block.count * sum(e.weights for e in block.experts) for block in self.blocks)

    @property
    def parameters(self) -> int:
        """The number of parameters of the base model."""
        inside = sum(
            b.count * (b.norms + b.other + sum(one.outputs for one in b.linears if one.bias))
            for b in self.blocks
        )
        outside = self.embeddings + self.head + self.norms + self.other
        return self.linear_weights + self.expert_weights + inside + outside

    def only(self, block: Block) -> "Shape":
        """Return the shape of one such block alone."""
        one = replace(block, count=1)
        return replace(self, blocks=(one,), embeddings=0, head=0, norms=0, other=0)


# Families whose blocks are query, key, value, out, gate, up, down and two norms. All others are
# counted from transformers' own model.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def from_config(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a model in FAMILIES from the content of its config.json.

    Raises:
        ModelError: if a key is missing.
    """
    try:
        return _from_config(config)
    except KeyError as error:
        raise ModelError(
            f"The model's config.json lacks the key {error.args[0]}. Use a complete config.json."
        ) from error


def _from_config(config: Mapping[str, Any]) -> Shape:
    family = config["model_type"]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    wide, queries, keys = config["intermediate_size"], heads * head_dim, kv_heads * head_dim
    every_bias = bool(config.get("attention_bias"))
    bias = every_bias or family == "qwen2"
    mlp_bias = bool(config.get("mlp_bias"))
    linears = (
        Linear("self_attn.q_proj", hidden, queries, attention=True, bias=bias),
        Linear("self_attn.k_proj", hidden, keys, attention=True, bias=bias),
        Linear("self_attn.v_proj", hidden, keys, attention=True, bias=bias),
        Linear("self_attn.o_proj", queries, hidden, attention=True, bias=every_bias),
        Linear("mlp.gate_proj", hidden, wide, attention=False, bias=mlp_bias),
        Linear("mlp.up_proj", hidden, wide, attention=False, bias=mlp_bias),
        Linear("mlp.down_proj", wide, hidden, attention=False, bias=mlp_bias),
    )
    head_norms = family == "qwen3"
    norms = 2 * hidden + (2 * head_dim if head_norms else 0)
    table = config["vocab_size"] * hidden
    return Shape(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=config["vocab_size"],
        blocks=(Block(config["num_hidden_layers"], linears, norms, head_norms),),
        embeddings=table,
        head=0 if config.get("tie_word_embeddings") else table,
        norms=hidden,
        positions=context_length(config),
    )


def from_model(model: "PreTrainedModel | PeftModel") -> Shape:
    """Return the shape of any causal language model that has no adapter yet.

    Args:
        model: on any device, the meta device included.

    Raises:
        ModelError: if it has no numbered blocks with linear layers in them.
    """
    from torch import nn

    from anima_exp.model.expert_weights import stack_sizes
    from anima_exp.model.linear_layers import in_block, linear_layers

    text = model.config.get_text_config()
    heads = getattr(text, "num_attention_heads", None) or 1  # a model without attention
    linears: dict[str, list[Linear]] = {}
    layers = linear_layers(model)
    for one in layers:
        inside = Linear(
            one.inside, one.inputs, one.outputs, one.attention, one.bias, one.seen, one.router
        )
        linears.setdefault(one.block, []).append(inside)
    if not linears:
        raise ModelError(f"{type(model).__name__} has no blocks of linear layers to train.")
    rest = {block: _Rest() for block in ("", *linears)}
    counted = {f"{one.name}.{kind}" for one in layers for kind in ("weight", "bias")}
    share = expert_share(text)
    experts: dict[str, list[Experts]] = {}
    for name, (count, inputs, outputs) in stack_sizes(model).items():
        block, inside_block = in_block(name)
        place = block if block in linears else ""
        one_stack = Experts(inside_block, count, inputs, outputs, share * count)
        experts.setdefault(place, []).append(one_stack)
        counted.add(name)
    for name, parameter in model.named_parameters():
        if name not in counted:
            block, _ = in_block(name)
            rest[block if block in linears else ""].add(name, parameter.numel())
    tables = [one.weight for one in model.modules() if isinstance(one, nn.Embedding)]
    embeddings = sum(table.numel() for table in tables)
    output = model.get_output_embeddings()
    tied = output is None or any(output.weight is table for table in tables)
    head = 0 if tied else output.weight.numel()
    each = (
        (
            tuple(linears[b]),
            rest[b].norms,
            rest[b].head_norms,
            rest[b].other,
            tuple(experts.get(b, ())),
        )
        for b in linears
    )
    blocks: list[Block] = []
    for same, alike in groupby(each):
        first = sum(block.count for block in blocks)
        blocks.append(Block(sum(1 for _ in alike), *same, first=first))
    return Shape(
        hidden=text.hidden_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocab=text.vocab_size,
        blocks=tuple(blocks),
        embeddings=embeddings,
        head=head,
        norms=rest[""].norms,
        other=rest[""].other - embeddings - head,
        positions=context_length(text),
        prefix=re.sub(r"\d+\.$", "", next(iter(linears))),
    )


def expert_share(config: "PreTrainedConfig") -> float:
    """Return the fraction of the experts that one token passes through; 1 without experts.

    Args:
        config: transformers' config of the text model.
    """
    chosen = getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_k", None)
    names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    experts = next((found for name in names if (found := getattr(config, name, None))), None)
    return min(1.0, chosen / experts) if chosen and experts else 1.0


@dataclass
class _Rest:
    """Weights of a block that belong to no linear layer."""

    norms: int = 0
    other: int = 0
    head_norms: bool = False

    def add(self, name: str, elements: int) -> None:
        holder = name.rpartition(".")[0].rpartition(".")[2]
        if "norm" in holder.lower():
            self.norms += elements
            self.head_norms |= holder in ("q_norm", "k_norm")
        else:
            self.other += elements
