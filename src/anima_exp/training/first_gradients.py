"""Check that every layer of an adapter gets a gradient at the first step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from anima_exp.config import Fault
from anima_exp.errors import TrainingError
from anima_exp.events import say_anyway
from anima_exp.libraries.peft_internals import belongs_to_adapter, name_in_base
from anima_exp.model.module_kinds import kinds_of
from anima_exp.results.training_report import Kind

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def check_first_gradients(
    model: "PreTrainedModel | PeftModel", accept: Sequence[Fault] = ()
) -> None:
    """Check the gradients of the first step, and say so if some layers have none.

    A layer whose output reaches no logit is never trained, and the loss of the others still falls.
    Until B has left zero, A has no gradient, so a layer counts if either has one. An expert may
    have none, because no token of the batch was sent to it.

    Raises:
        TrainingError: if a layer has none, unless `accept` has `no_gradient`.
    """
    dead, layers = layers_without_gradient(model)
    if not dead:
        return
    shown = ", ".join(dead[:3]) + (", ..." if len(dead) > 3 else "")
    found = f"{len(dead)} of {layers} layers with an adapter get no gradient: {shown}"
    if Fault.no_gradient not in accept:
        raise TrainingError(
            f"Step 1: {found}. They would never be trained, although the loss falls. Leave them "
            "out with lora.target_modules=named, or accept this with model.accept=[no_gradient]."
        )
    say_anyway(f"lora     accepted: {found}")


def layers_without_gradient(model: "PreTrainedModel | PeftModel") -> tuple[list[str], int]:
    """Return the adapted layers whose weights all have a gradient of zero, and how many there are.

    Experts are left out.
    """
    names, norms = [], []
    for name, parameter in model.named_parameters():
        if belongs_to_adapter(name) and parameter.requires_grad:
            gradient = parameter.grad
            names.append(name_in_base(name))
            norms.append(
                torch.zeros((), device=parameter.device)
                if gradient is None
                else gradient.detach().abs().amax().float()
            )
    if not norms:
        return [], 0
    device = norms[0].device
    alive = torch.stack([one.to(device) for one in norms]).ne(0).tolist()  # NaN is not 0 either
    found: dict[str, bool] = {}
    for name, has_one in zip(names, alive, strict=True):
        found[name] = found.get(name, False) or has_one
    kinds = kinds_of(model)
    experts = {name.removesuffix(".weight") for name, kind in kinds.items() if kind is Kind.experts}
    dead = [
        name
        for name, has_one in found.items()
        if not has_one and name not in experts and not name.endswith(".experts")
    ]
    return dead, len(found)
