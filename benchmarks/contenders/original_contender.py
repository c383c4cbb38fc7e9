"""As qlora.py and Anima train: one row a forward pass, tokenized then, every logit, checkpointing.

python original_contender.py PLACE OUT PRECISION [SETTINGS]
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from material import BATCH, RECIPE, Stopwatch, batches, load_base, lora, losses, report, sums
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, Trainer, TrainingArguments, set_seed

IGNORE = -100


class Collator:
    """qlora.py's DataCollatorForCausalLM: prompts and responses tokenized apart, then padded."""

    def __init__(self, tokenizer, max_prompt=384, max_response=128):
        self.tokenizer, self.max_prompt, self.max_response = tokenizer, max_prompt, max_response

    def __call__(self, rows):
        begin, end = self.tokenizer.bos_token, self.tokenizer.eos_token
        prompts = self._ids([begin + row["prompt"] for row in rows], self.max_prompt)
        responses = self._ids([row["response"] + end for row in rows], self.max_response)
        both = list(zip(prompts, responses, strict=True))
        ids = [torch.tensor(prompt + response) for prompt, response in both]
        labels = [torch.tensor([IGNORE] * len(prompt) + response) for prompt, response in both]
        padded = pad_sequence(ids, batch_first=True, padding_value=0)
        return {
            "input_ids": padded,
            "attention_mask": padded.ne(0),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE),
        }

    def _ids(self, texts, longest):
        return self.tokenizer(
            texts, max_length=longest, truncation=True, add_special_tokens=False
        )["input_ids"]  # fmt: skip


def main(place, out, precision, settings="{}"):
    dropout = json.loads(settings).get("dropout", 0.1)
    rows = batches(place)
    set_seed(0)
    model = prepare_model_for_kbit_training(
        load_base(place, precision),
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    model = get_peft_model(model, LoraConfig(target_modules="all-linear", **lora(dropout)))
    if precision == "bf16":  # qlora.py's: head and embeddings back to bf16, norms stay in fp32
        for name, module in model.named_modules():
            if name.endswith(("lm_head", "embed_tokens")):
                module.to(torch.bfloat16)
    model.config.use_cache = False
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                **RECIPE,
                num_train_epochs=1,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=BATCH,
                remove_unused_columns=False,
                bf16=precision == "bf16",
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=rows,
            data_collator=Collator(AutoTokenizer.from_pretrained(place / "base")),
            callbacks=[stopwatch],
        )
        trainer.train()
    report(
        out,
        tokens=sums([len(row["input_ids"]) for row in rows], BATCH),
        seconds=stopwatch.seconds,
        losses=losses(trainer),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
