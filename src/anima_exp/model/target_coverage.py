"""Find matrices that an adapter was meant for and does not reach."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from anima_exp.config import Fault, LoraConfig, TargetModules
from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.model.linear_layers import in_block, linear_layers
from anima_exp.model.module_kinds import kinds_of
from anima_exp.results.training_report import Kind

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The kinds of which a set names every matrix. Experts have a setting of their own.
_MEANT = {
    TargetModules.all_linear: (Kind.attention, Kind.feed_forward, Kind.state_space),
    TargetModules.attention: (Kind.attention,),
    TargetModules.ffn: (Kind.feed_forward,),
}


def check_targets(
    model: "PreTrainedModel",
    chosen: Collection[str],
    lora: LoraConfig,
    accept: Sequence[Fault] = (),
) -> None:
    """Check that the chosen layers are all of their kind, and say so if they are not.

    Args:
        model: the base model, without an adapter.
        chosen: the full names of the layers that are to get an adapter.

    Raises:
        ModelError: if some are missing, unless `accept` has `partial_targets`.
    """
    if lora.target_modules is TargetModules.named:
        found = _blocks_without(model, chosen)
    else:
        found = _missed(model, chosen, lora.target_modules)
    if not found:
        return
    if Fault.partial_targets not in accept:
        instead = "Use lora=all_linear, name these too, or accept"
        if lora.target_modules is TargetModules.all_linear:
            instead = "Name the layers with lora.modules, or accept"
        raise ModelError(f"{found}. {instead} this with model.accept=[partial_targets].")
    say(f"lora     accepted: {found}")


def _missed(model: "PreTrainedModel", chosen: Collection[str], which: TargetModules) -> str:
    """Return which matrices of a set's kinds are not chosen; "" if all are."""
    kinds, hidden = kinds_of(model), model.config.get_text_config().hidden_size
    unseen = {one.name for one in linear_layers(model) if not one.seen}
    missed: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        place = name.removesuffix(".weight")
        matrix = (name != place and parameter.ndim == 2) or (
            parameter.ndim >= 2 and min(parameter.shape[-2:]) >= hidden // 2
        )
        meant = kinds[name] in _MEANT.get(which, ()) and place not in unseen
        if meant and matrix and place not in chosen and in_block(place)[0]:
            missed[in_block(place)[1]] += 1
    if not missed:
        return ""
    names = ", ".join(f"{name} ({count})" for name, count in missed.most_common(3))
    return (
        f"lora.target_modules={which.value} misses {missed.total()} matrices of "
        f"{type(model).__name__} that are in no linear layer: {names}"
    )


def _leaf(name: str) -> str:
    """Return the last part of a name that is no number: `mlp.gates.0` -> `gates`."""
    return next((part for part in reversed(name.split(".")) if not part.isdigit()), name)


def _blocks_without(model: "PreTrainedModel", chosen: Collection[str]) -> str:
    """Return which blocks lack every chosen layer, as in a hybrid model; "" if none does.

    A pattern may leave out blocks on purpose. Their layers then have the names of chosen ones.
    """
    layers = [one for one in linear_layers(model) if one.seen]
    names = {one.inside for one in layers if one.name in chosen}
    inside: dict[str, set[str]] = {}
    for one in layers:
        inside.setdefault(one.block, set()).add(one.inside)
    without = [block for block, own in inside.items() if not own & names]
    if not without:
        return ""
    others = sorted({_leaf(one) for block in without for one in inside[block]})
    return (
        f"lora.modules reaches {len(inside) - len(without)} of the {len(inside)} blocks of "
        f"{type(model).__name__}. Only these have {' and '.join(sorted(names))}. The layers of the "
        f"others are {', '.join(others)}"
    )
