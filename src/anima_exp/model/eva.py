"""Set A from the inputs of its layer, and share the ranks between layers (lora.init=eva).

PEFT's implementation decomposes the inputs of each layer, until their main directions no longer
change. Directions that explain more of the inputs' variance get a place in A first, so layers end
with different ranks, and some with none.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anima_exp.config import Precision
from anima_exp.data.micro_batch import MicroBatch, Row, pack_rows
from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.libraries.peft_internals import base_of, lora_layers
from anima_exp.model.forward import hidden_states
from anima_exp.model.generation import inference_mode
from anima_exp.model.varlen_attention import packed_attention, supports_packing

if TYPE_CHECKING:
    from peft import PeftModel

ROWS = 256  # the first training rows, in the order of training
_BATCH_TOKENS = 2048
_MORE_RANK = 2.0  # the largest rank of a layer is lora.rank times this number (PEFT's default)
_MOST_PASSES = 400


def initialize_from_rows(model: "PeftModel", rows: Sequence[Row], precision: Precision) -> None:
    """Set A and the rank of every layer from the first training rows.

    Args:
        rows: the first `ROWS` rows, in the order of training.
        precision: that of the forward passes.

    Raises:
        ModelError: if there are too few tokens, or the directions keep changing.
    """
    from peft import initialize_lora_eva_weights

    settings: Any = model.peft_config["default"]
    settings.init_lora_weights = "eva"
    settings.eva_config = _config()
    highest = max(layer.r["default"] for _, layer in lora_layers(model))
    batches = _batches(model, rows, least=round(_MORE_RANK * highest))
    passes = 0

    def forward(model: "PeftModel", batch: MicroBatch) -> None:
        nonlocal passes
        passes += 1
        if passes > _MOST_PASSES:
            raise ModelError(
                f"lora.init=eva: after {_MOST_PASSES} passes the main directions of the inputs "
                "still change. Use more training rows, a lower lora.rank, or another lora.init."
            )
        hidden_states(model, batch.to(model.device))

    layers = len(lora_layers(model))
    with inference_mode(model, precision), packed_attention(base_of(model)):
        initialize_lora_eva_weights(
            model,
            batches,
            forward_fn=forward,
            prepare_model_inputs_fn=None,
            prepare_layer_inputs_fn=None,
            gather_distributed_inputs=False,
            show_progress_bar=False,
        )
    # What is saved is a plain adapter. PEFT must not look for EVA's data when it loads it.
    settings.init_lora_weights, settings.eva_config = True, None
    ranks = [layer.r["default"] for _, layer in lora_layers(model)]
    gone = f", and {layers - len(ranks)} layers have none" if layers > len(ranks) else ""
    say(
        f"eva      {passes} passes over {sum(len(one.lengths) for one in batches)} rows: ranks "
        f"from {min(ranks)} to {max(ranks)}{gone}"
    )


def _config() -> Any:
    from peft import EvaConfig

    return EvaConfig(rho=_MORE_RANK)


def _batches(model: "PeftModel", rows: Sequence[Row], *, least: int) -> list[MicroBatch]:
    """Pack the rows into batches of at least `least` tokens, which PEFT needs."""
    apart = not supports_packing(model)
    wanted = 1 if apart else max(_BATCH_TOKENS, least)
    result: list[MicroBatch] = []
    chosen: list[int] = []
    for number, row in enumerate(rows):
        if apart and len(row["input_ids"]) < least:
            continue
        chosen.append(number)
        if sum(len(rows[one]["input_ids"]) for one in chosen) >= wanted:
            result.append(pack_rows(rows, chosen, [1.0] * len(rows)))
            chosen = []
    tokens = sum(len(rows[one]["input_ids"]) for one in chosen)
    if chosen and (not result and tokens >= least):
        result.append(pack_rows(rows, chosen, [1.0] * len(rows)))
    if not result:
        which = "no row alone" if apart else f"the first {len(rows)} training rows together"
        raise ModelError(
            f"lora.init=eva needs {least} tokens at once, twice the largest rank, but {which} "
            f"{'has' if apart else 'have'} as many. Use more rows, a lower lora.rank, or another "
            "lora.init."
        )
    return result
