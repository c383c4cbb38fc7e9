"""Five-shot multiple choice: each shared beginning read once, against one full prompt a question.

python benchmarks/five_shot.py FOLDER TOKENIZER [EVERY]

Of every EVERY subjects one (default: all). FOLDER has dev/ and val/ of MMLU's CSV files. The model
has random weights: 256 wide, 4 layers, the tokenizer's vocabulary. `plain` reads each prompt alone
and keeps all logits, as qlora.py does; `plain, last logits` asks the head for the last one only.
"""

import sys
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from anima_exp.config import MultipleChoiceConfig
from anima_exp.evals.multiple_choice.measure import multiple_choice, prepare_benchmark


def plain(model, ready, **how):
    """The likeliest letter of every question, and its four logits."""
    chosen, logits = [], []
    for one in ready.questions:
        ids = torch.as_tensor(one.ids[None], dtype=torch.long)
        found = model(input_ids=ids, **how).logits[0, -1]
        logits.append(found[[int(option[0]) for option in one.options]])
        chosen.append(int(logits[-1].argmax()))
    return chosen, torch.stack(logits)


def timed(work, *args, **how):
    started = time.perf_counter()
    found = work(*args, **how)
    return found, time.perf_counter() - started


def main(folder, tokenizer_name, every=1):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_name)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=256, intermediate_size=688, num_hidden_layers=4,
            num_attention_heads=4, max_position_embeddings=2048,
        )
    ).eval()  # fmt: skip
    subjects = sorted(path.stem.removesuffix("_val") for path in Path(folder).glob("val/*.csv"))
    config = MultipleChoiceConfig(
        source="", path=folder, prompt="mmlu", subjects=subjects[:: int(every)]
    )
    ready, seconds = timed(prepare_benchmark, "mmlu", config, tokenizer)
    tokens = sum(len(one.ids) for one in ready.questions)
    print(f"{len(ready.questions)} questions, {tokens:,} tokens; made ready in {seconds:.1f} s")
    with torch.no_grad():
        found, fast = timed(multiple_choice, model, ready)
        print(f"shared beginning    {fast:7.1f} s")
        (_, _), last = timed(plain, model, ready, logits_to_keep=1)
        print(f"plain, last logits  {last:7.1f} s  {last / fast:.1f} times")
        (chosen, _), slow = timed(plain, model, ready)
        print(f"plain               {slow:7.1f} s  {slow / fast:.1f} times")
    same = sum(a == b for a, b in zip(found.chosen, chosen, strict=True))
    print(f"same predictions: {same} of {len(chosen)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
