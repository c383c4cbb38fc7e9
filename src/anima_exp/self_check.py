"""Check on your own model and data that packed training has the gradients of plain training.

anima-exp check model=llama7b data=alpaca      # any setting of anima-exp train

One batch is computed twice: as a run does it, rows one behind the other, and row by row with full
logits, transformers' attention and PEFT's layers. Without dropout they differ by rounding alone.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anima_exp.cli.adapter_settings import with_adapter
from anima_exp.cli.compose import run_command
from anima_exp.config import Precision, RunConfig
from anima_exp.config.checks import check_length
from anima_exp.errors import TrainingError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


# Largest difference of the gradients, of their own length, that rounding explains.
_ROUNDING = {Precision.fp32: 1e-3, Precision.bf16: 5e-2, Precision.fp16: 2e-2}


def self_check(config: RunConfig) -> None:
    """Print both losses and how far the gradients are apart.

    Raises:
        TrainingError: if they differ by more than rounding explains.
    """
    from anima_exp.display.console import say
    from anima_exp.experiment.preflight import check_inputs
    from anima_exp.libraries.quiet import quiet_libraries
    from anima_exp.system.hardware import keep_freed_memory

    check_length(config)
    check_inputs(config)
    quiet_libraries()
    keep_freed_memory()
    from anima_exp.experiment.setup import load  # the first import of torch

    dry = replace(config, lora=replace(config.lora, dropout=0.0))
    setup = load(dry)
    rows = [setup.data.train[number] for number in setup.order[: config.trainer.batch_size]]
    fast, plain, apart = _compare(dry, setup, rows)
    tokens = sum(len(row["input_ids"]) for row in rows)
    say(f"{len(rows)} rows, {tokens:,} tokens, in {dry.trainer.precision.value}, dropout off")
    say(f"loss        {fast:.6f} as a run computes it, {plain:.6f} row by row")
    say(f"gradients   differ by {apart:.1e} of their norm")
    if not apart < _ROUNDING[dry.trainer.precision]:
        raise TrainingError(
            f"The gradients differ by {apart:.1e} of their norm, more than rounding explains "
            f"({_ROUNDING[dry.trainer.precision]:.0e}). trainer.max_tokens_per_micro_batch=1 "
            "computes each row alone; please report the model."
        )
    say("the same, to rounding")


def _compare(config: RunConfig, setup: Any, rows: list[Any]) -> tuple[float, float, float]:
    import torch

    from anima_exp.data.micro_batch import label_weights
    from anima_exp.model.base import autocast
    from anima_exp.model.hashed_dropout import switch_off_own_dropout
    from anima_exp.training.gradient_check import reference_gradients
    from anima_exp.training.step import GradientStep

    model = setup.model.train()
    switch_off_own_dropout(model)  # its masks are drawn anew in every pass
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first, which would hide A's gradients
            torch.nn.init.normal_(parameter, std=0.02)
    trainer = config.trainer
    step = GradientStep(
        model,
        setup.dropout,
        budget=setup.execution.token_budget,
        precision=trainer.precision,
        average=trainer.loss_normalization,
        seed=config.seed,
        backward=torch.Tensor.backward,
        say=print,
    )
    fast = float(step(rows, number=0))
    result = _flat(model)
    with autocast(model.device, trainer.precision):
        plain = reference_gradients(model, rows, label_weights(rows, trainer.loss_normalization))
    expected = _flat(model)
    return fast, plain, float((result - expected).norm() / expected.norm())


def _flat(model: "PreTrainedModel | PeftModel") -> Any:
    import torch

    result = [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(result)


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(self_check, config_name="self_check", expand=with_adapter)


if __name__ == "__main__":
    main()
