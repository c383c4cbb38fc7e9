"""Token ids of all of Alpaca, computed and then read again, against qlora.py's collator.

python benchmarks/tokenizing.py FOLDER TOKENIZER [SAMPLE]

FOLDER has alpaca_data.json, TOKENIZER LLaMA's tokenizer.json and tokenizer.model; SentencePiece
is needed too (`pip install sentencepiece`). The collator tokenizes the rows of every batch again,
prompts and responses apart, with transformers' slow tokenizer, and pads them. It is timed on
SAMPLE rows drawn at random (2,000), and what the whole set would take is reckoned from that. Each
figure is the median of three, each taken in a process of its own, in turns; imports and the
loading of the tokenizers are not counted. The ids of the sample are compared.
"""

import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

BATCH = 16
LIMITS = {"max_prompt_tokens": 384, "max_response_tokens": 128}  # qlora.py's for Alpaca
ROUNDS = 3


def ours(folder, tokenizer_folder, cache, sample):
    """Seconds, CPU seconds, and the ids of the rows of `sample`."""
    import hydra

    from anima_exp.cli.compose import parse, register_schema
    from anima_exp.data.dataset import prepare
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.system.paths import shipped

    register_schema()
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        settings = {
            "model": "local", "model.source": tokenizer_folder, "data": "local",
            "data.path": f"{folder}/alpaca_data.json", "data.recipe": "alpaca",
            "data.on_bad_row": "skip", "data.heldout_rows": 0, "evals": [], "trainer.num_epochs": 1,
        } | {f"data.{key}": value for key, value in LIMITS.items()}  # fmt: skip
        config = parse(hydra.compose("train", [f"{k}={v}" for k, v in settings.items()]))
    tokenizer = load_tokenizer(config.model)
    found, *seconds = timed(lambda: prepare(config.data, tokenizer, cache=Path(cache)))
    place = {row: i for i, row in enumerate(found.train.tokens.rows[found.train.order].tolist())}
    ids = {row: found.train[place[row]]["input_ids"].tolist() for row in sample if row in place}
    return *seconds, ids


def collator(folder, tokenizer_folder, sample):
    """The same of the slow tokenizer, batch for batch."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    from anima_exp.data.readers import rows
    from anima_exp.data.templates import alpaca

    tokenizer = SentencePieceBackend(
        vocab_file=f"{tokenizer_folder}/tokenizer.model",
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    every = dict(rows(Path(folder) / "alpaca_data.json"))
    chosen = [every[number] for number in sample]

    def tokenize(texts, most):
        return tokenizer(texts, max_length=most, truncation=True, add_special_tokens=False)

    def collate(batch):
        prompts = tokenize(
            [f"<s>{alpaca(row['instruction'], row['input'])}" for row in batch],
            LIMITS["max_prompt_tokens"],
        )
        responses = tokenize(
            [f"{row['output']}</s>" for row in batch], LIMITS["max_response_tokens"]
        )
        pairs = list(zip(prompts["input_ids"], responses["input_ids"], strict=True))
        ids = [torch.tensor(prompt + response) for prompt, response in pairs]
        labels = [torch.tensor([-100] * len(prompt) + response) for prompt, response in pairs]
        padded = pad_sequence(ids, batch_first=True, padding_value=0)
        pad_sequence(labels, batch_first=True, padding_value=-100)
        padded.ne(0)
        return ids

    batches = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
    found, *seconds = timed(lambda: [ids for batch in batches for ids in collate(batch)])
    ids = {row: one.tolist() for row, one in zip(sample, found, strict=True)}
    return *(second * len(every) / len(sample) for second in seconds), ids


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def alone(function, *arguments):
    """What it returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(folder, tokenizer_folder, sample=2000):
    rows = sorted(random.Random(0).sample(range(1, 52_003), int(sample)))
    seconds = {"first start": [], "second start": [], "collator, an epoch": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            *first, ids = alone(ours, folder, tokenizer_folder, cache, rows)
            *slow, expected = alone(collator, folder, tokenizer_folder, rows)
            *again, _ = alone(ours, folder, tokenizer_folder, cache, rows)
        for name, found in zip(seconds, (first, again, slow), strict=True):
            seconds[name].append(found)
    for name, found in seconds.items():
        wall, cpu = (median(column) for column in zip(*found, strict=True))
        spread = f"{min(found)[0]:.2f} to {max(found)[0]:.2f}"
        print(f"{name:20} {wall:7.2f} s ({spread})   {cpu:7.2f} s of processor time")
    ratio = [slow[0] / first[0] for first, _, slow in zip(*seconds.values(), strict=True)]
    again = [slow[0] / second[0] for _, second, slow in zip(*seconds.values(), strict=True)]
    print(f"collator / first start: {median(ratio):.1f}; / second start: {median(again):.0f}")
    same = sum(ids[row] == expected[row] for row in ids)
    print(f"{same} of {len(ids)} rows have the same ids; {len(rows) - len(ids)} have no answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
