"""Write the page of files: the folders of a run, of a sweep and of the cache, and record.json."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import get_type_hints

from anima_exp.reference import markdown
from anima_exp.results.record import Record

# Paths inside a run folder. `*` stands for a part of a name, and a folder ends with a slash.
RUN_FOLDER = {
    "record.json": "The run is done. Written last, and the only mark of a finished run.",
    "failure.txt": "The run failed: one line says why. The next start removes it.",
    "settings.json": "The settings that the run depends on. Other settings never overwrite it.",
    "inputs.json": "Fingerprints of base model and data, checked before a run is resumed.",
    "starts.txt": "The time of every start, one a line.",
    "metrics.jsonl": "A line for each log step and each evaluation.",
    "generations.jsonl": "What the model answered to the sample questions at each evaluation.",
    "accuracies.jsonl": "Multiple choice by subject, category and mean, with 95 % intervals.",
    "neutral_text.jsonl": "With `evals=[forgetting]`: the loss of each row of the text.",
    "answers.jsonl": "With `evals=[answers]`: the answers, in a form that the judge reads.",
    "log.txt": "What the run printed, if it is part of a sweep.",
    "adapter/": "The trained adapter, its tokenizer and its model card.",
    "model/": "The trained model, if every weight was trained.",
    "evaluations/*.json": "Scores that `anima-exp evaluate` measured later.",
    "checkpoints/checkpoint-*/": "What the run resumes from. The newest undamaged one is used.",
    "checkpoints/best/": "The weights of the best evaluation, with `trainer.keep_best`.",
    "tensorboard/": "TensorBoard's event files, if it is chosen with `tracking`.",
    "wandb/": "Weights & Biases' files, if it is chosen with `tracking`.",
    ".lock": "Locked while a process works on the run.",
    ".owner": "The process that holds the lock.",
    ".answers.jsonl.lock": "Locked while a process writes the answers.",
}
CHECKPOINT = {
    "adapter_model.safetensors": "The adapter's weights (`model*.safetensors` if all are trained).",
    "adapter_config.json": "PEFT's description of the adapter.",
    "optimizer*.safetensors": "The optimizer's states.",
    "start.safetensors": "What PiSSA and OLoRA subtract from the base, with their lora.init.",
    "random.safetensors": "The states of the random number generators.",
    "state.json": "Step, position in the data, schedule and loss scaler.",
    "meter.json": "Counts of tokens and seconds up to the checkpoint.",
    "best.json": "The best evaluation so far, with `trainer.keep_best`.",
    "best*.safetensors": "The weights of that evaluation.",
    "manifest.json": "A hash of each file. A checkpoint with a damaged file is not used.",
    "tokenizer*.json": "The tokenizer.",
    "README.md": "The model card of the weights at this step.",
}
SWEEP_FOLDER = {
    "sweep.json": "The sweep's question and command, its runs and their folders.",
    "study.jsonl": "The trials of a search with Optuna.",
}
CACHE = {
    "tokens/": "Token ids of data sets. A change of data, tokenizer or recipe makes new ones.",
    "lengths/": "How long the rows of a data set are, for `anima-exp plan`.",
    "hashes/": "Hashes of files above 64 MiB, by size and time of change.",
    "bases/": "Quantized base models, with `quant.cache_quantized`.",
}
RECORD = {
    "name": "Name of the run.",
    "settings": "Every setting by its whole key, as `lora.rank`.",
    "scores": "Scores of the weights that the run leaves.",
    "scores_before": "The same scores before the first step.",
    "steps": "Optimizer steps that were trained.",
    "tokens": "Tokens trained on, without padding.",
    "rows": "Counts of rows: read, skipped, train, heldout, truncated.",
    "parameters": "Counts of parameters: trainable, total.",
    "train_seconds": "Seconds in training steps, over all starts.",
    "eval_seconds": "Seconds in evaluations.",
    "peak_memory_gib": "Peak memory of the GPU, or of the process on a CPU, in GiB.",
    "starts": "How often the run was started: 1 if nothing interrupted it.",
    "finished": "End of the run, in UTC.",
    "data_fingerprint": "SHA-256 of the data's rows.",
    "base_fingerprint": "Commit of the base model on the hub, or SHA-256 of its files.",
    "versions": "Versions of Python and the libraries.",
    "git": "Commit and state of the checkout of anima-exp, if it is one.",
    "hardware": "GPU, processor and memory.",
    "peak_reserved_gib": "Peak memory that torch reserved on the GPU, in GiB.",
    "predicted_memory_gib": "Predicted peak of training, in GiB.",
    "execution": "How batches were executed: tokens per micro-batch, checkpointing and others.",
    "processes": "Processes that shared each batch.",
    "tokens_by_process": "Tokens of each process since the last start, by rank.",
    "code": "A hash over the modules of anima-exp.",
    "results_version": "Version of how results are computed.",
    "places": "Relative paths of settings, in full.",
    "wandb": "The run's page at Weights & Biases, or the command that syncs it.",
    "tracking": "The same for each tracker.",
    "metrics": "Direction and unit of the scores of your own functions.",
    "best": "With `trainer.keep_best`: metric, best value, and the step whose weights are kept.",
    "scores_last": "With `trainer.keep_best`: scores of the last step.",
    "parts": "With `data=mixture`: rows, repeats, tokens and share of each part.",
    "chat": "Of conversations: template, end tokens, answers and tokens trained on, what was cut.",
    "report": "What is trained: parameters by kind of module, positions, attention.",
    "base_format": "`FP8` or `MXFP4` if the base's files were dequantized to 16 bits first.",
    "intervals": "95 % intervals of scores, low and high: of `forgetting`.",
    "ended": "Why the run ended before its planned last step.",
}
LINES = {
    "metrics.jsonl": {
        "step": "Optimizer step.",
        "loss, grad_norm, learning_rate, ...": "Logged values of a training step.",
        "heldout_loss, exact_match, ...": "Scores of an evaluation.",
        "eval_seconds": "Seconds that the evaluation took. Only evaluations have it.",
        "part": "`answers` if the line holds what was measured after the last evaluation.",
    },
    "generations.jsonl": {
        "step": "Optimizer step.",
        "prompt": "The question.",
        "response": "The answer.",
    },
    "accuracies.jsonl": {
        "step": "Optimizer step.",
        "benchmark": "`mmlu`, `choices`, ...",
        "of": "`subject`, `category` or `mean`.",
        "name": "Name of the subject or category, or `macro` or `micro`.",
        "mean, low, high": "Proportion of right answers, and its 95 % interval.",
        "asked": "Number of questions.",
    },
    "neutral_text.jsonl": {
        "step": "Optimizer step.",
        "text": "A hash of the rows.",
        "sums": "Sum of the losses of each row, in nats.",
        "counts": "Tokens of each row that are predicted.",
    },
    "answers.jsonl": {
        "answer_id, question_id, model_id": "Which answer, to which question, of which model.",
        "text": "The answer.",
        "question, category, reference": "From the list of questions, if it has them.",
        "prompt": "The whole text that the model read.",
        "finish": "`stop` if the model ended the answer, `length` if the limit did.",
        "tokens": "Length of the answer.",
        "settings": "A hash of the settings that the answer depends on.",
        "metadata": "The settings that the answer depends on.",
    },
}


def files_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Files", _lines())


def _lines() -> Iterator[str]:
    yield (
        "Every file is written under another name and moved into place, so it is whole or absent. "
        "JSON files hold the version of their form as `schema_version`. A later version of "
        "anima-exp reads the files of an earlier one. It refuses a file of a later version in one "
        "line."
    )
    yield ""
    yield "## Run folder"
    yield ""
    yield (
        "A run is in `runs_dir/MODEL-DATA-HASH`, unless `run_dir` names its folder. "
        "[Run identity](../concepts/run-identity.md) says what the hash is made of."
    )
    yield ""
    yield from _table("file", RUN_FOLDER)
    yield ""
    yield "### Checkpoint"
    yield ""
    yield from _table("file", CHECKPOINT)
    yield ""
    yield "## record.json"
    yield ""
    yield (
        "Sizes are in GiB, times in seconds, losses in nats per response token. "
        "`anima_exp.Record.load(FOLDER)` reads the records of all earlier versions."
    )
    yield ""
    hints = get_type_hints(Record)
    yield from markdown.table(
        ["field", "type", "what it is"],
        [
            [f"`{one.name}`", _type(hints[one.name]), RECORD.get(one.name, "")]
            for one in fields(Record)
        ],
    )
    yield ""
    yield "## JSON lines"
    for file, keys in LINES.items():
        yield ""
        yield f"### {file}"
        yield ""
        yield from _table("key", keys)
    yield ""
    yield "## Sweep folder"
    yield ""
    yield "A sweep is in `runs_dir/sweeps/NAME-HASH`. Its runs have folders of their own."
    yield ""
    yield from _table("file", SWEEP_FOLDER)
    yield ""
    yield "## Cache folder"
    yield ""
    yield (
        "The cache is in `cache_dir`, else in the folder that `ANIMA_EXP_CACHE` names, else in "
        "`~/.cache/anima_exp`. Everything in it can be computed again, so you may delete it."
    )
    yield ""
    yield from _table("folder", CACHE)


def _table(heading: str, rows: Mapping[str, str]) -> list[str]:
    cells = [
        [", ".join(f"`{part}`" for part in key.split(", ")), text] for key, text in rows.items()
    ]
    return markdown.table([heading, "what it is"], cells)


_NAMES = {"str": "text", "int": "whole number", "float": "number"}


def _type(hint: object) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    text = text.replace("typing.", "")
    if text.startswith("dict["):
        return "table"
    if text.startswith("list["):
        return "list"
    name, _, null = text.partition(" | ")
    return _NAMES.get(name, name) + (" or null" if null else "")
