"""List the facts of a run for its model card: base, data, training and cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from anima_exp.config import lora_text
from anima_exp.data import part_counts
from anima_exp.data.chat import summary
from anima_exp.data.chat.summary import ChatSummary
from anima_exp.data.part_counts import PartCounts
from anima_exp.display.console import duration
from anima_exp.model_card import origin
from anima_exp.results.record import Record

Facts = list[tuple[str, str]]


def base(record: Record) -> Facts:
    settings = record.settings
    named = base_named(settings, origin.base_origin(settings, record.base_fingerprint))
    stored = _storage(settings)
    if record.base_format:
        stored = f"{record.base_format}, dequantized to 16 bits; then {stored}"
    return [*named[:-1], ("stored as", stored), named[-1]]


def base_named(settings: Mapping[str, Any], of: origin.Base) -> Facts:
    """Return the name, the commit and, last, the licence of a base."""
    facts = [("base", of.description)]
    if of.commit:
        facts.append(("commit", of.commit))
    if settings["model.revision"] and settings["model.revision"] != of.commit:
        facts.append(("requested revision", str(settings["model.revision"])))
    return [*facts, ("licence", _licence(of.name, "base"))]


def data(record: Record) -> Facts:
    settings, rows, found = record.settings, record.rows, origin.data_origin(record.settings)
    facts = [("data", found.description)]
    if found.hub_id:
        facts.append(
            ("revision", str(settings["data.revision"] or "the newest at that time; not pinned"))
        )
    return [
        *facts,
        ("fingerprint", f"sha256:{record.data_fingerprint}"),
        ("rows read", f"{rows['rows']:,}, of which {rows['skipped']:,} were left out"),
        ("trained on", f"{rows['train']:,} examples of {rows['train_tokens']:,} tokens"),
        ("loss on", f"{rows['label_tokens']:,} of these tokens"),
        ("set aside", _set_aside(record)),
        *_chat_or_truncation(record),
        ("licence", _licences(record.settings)),
    ]


def _licences(settings: Mapping[str, Any]) -> str:
    """Return the licence of the data, of each part of a mixture."""
    origins = origin.data_origins(settings)
    texts = {name: _licence(one.name, "data") for name, one in origins.items()}
    if len(set(texts.values())) == 1:
        return texts.popitem()[1]
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _chat_or_truncation(record: Record) -> Facts:
    """Return what became of conversations, or how many prompts and responses were truncated."""
    rows, settings = record.rows, record.settings
    chat = [*summary.lines(ChatSummary.of(record.chat)).items()] if record.chat else []
    if record.parts:
        counts = {name: PartCounts.of(one) for name, one in record.parts.items()}
        cut = f"{rows['truncated_prompts']:,} prompts, {rows['truncated_responses']:,} responses"
        return [*part_counts.lines(counts).items(), *chat, ("truncated", cut)]
    if chat:
        return chat
    return [
        (
            "truncated",
            f"{rows['truncated_prompts']:,} prompts at {settings['data.max_prompt_tokens']:,} "
            f"tokens, {rows['truncated_responses']:,} responses at "
            f"{settings['data.max_response_tokens']:,}",
        )
    ]


def _set_aside(record: Record) -> str:
    """Return how many examples are held out, and from where."""
    count = record.rows["heldout"]
    if not count:
        return "none"
    return f"{count:,} examples, {origin.heldout(record.settings)}"


def training(record: Record, modules: Sequence[str]) -> Facts:
    settings = record.settings
    parameters = record.parameters
    adapter: Facts = [("method", "every weight was trained")]
    further, start = settings.get("model.adapter"), lora_text.start(settings)
    patterns, whole = lora_text.patterns(settings), lora_text.whole(settings)
    if not record.is_full_finetune:
        adapter = [
            ("method", lora_text.method(settings)),
            *([("trained further", str(further))] if further else []),
            ("layers", f"{settings['lora.target_modules']}: {', '.join(modules)}"),
            ("rank, alpha", f"{settings['lora.rank']}, {settings['lora.alpha']:g}"),
            *([("rank, alpha of some", ", ".join(patterns))] if patterns else []),
            *([("started from", start)] if start else []),
            ("dropout", f"{settings['lora.dropout']:g}"),
            ("adapter weights", str(settings["lora.dtype"])),
            *([("trained as a whole", f"{whole}, in fp32")] if whole else []),
        ]
    return [
        *adapter,
        ("parameters", f"{parameters['trainable']:,} trained of {parameters['total']:,}"),
        ("precision", str(settings["trainer.precision"])),
        ("optimizer", _optimizer(settings)),
        ("learning rate", f"{settings['optimizer.learning_rate']:g}"),
        ("schedule", _schedule(settings)),
        ("batch", f"{settings['trainer.batch_size']} rows, loss averaged by "
                  f"{settings['trainer.loss_normalization']}"),
        ("steps", _steps(record)),
        ("loss on", "prompt and response" if settings["data.train_on_source"] else "the response"),
        ("row order", "by length" if settings["trainer.group_by_length"] else "random"),
        ("seed", str(settings["seed"])),
    ]  # fmt: skip


def cost(record: Record) -> Facts:
    starts = f", in {record.starts} starts" if record.starts > 1 else ""
    return [
        ("machine", _machine(record)),
        ("training", f"{duration(record.train_seconds)}, {record.tokens:,} tokens{starts}"),
        ("evaluation", duration(record.eval_seconds)),
        ("peak memory", _memory(record)),
        ("finished", record.finished),
        ("versions", ", ".join(f"{name} {found}" for name, found in record.versions.items())),
        *_commit(record.git),
    ]


def _memory(record: Record) -> str:
    text = f"{record.peak_memory_gib:.2f} GiB"
    if record.peak_reserved_gib is None:
        return text
    return f"{text}, {record.peak_reserved_gib:.2f} GiB reserved"


def _machine(record: Record) -> str:
    hardware, processes = record.hardware, record.processes
    if gpu := hardware.get("gpu"):  # each of several processes sees only its own GPU
        return f"{processes if processes > 1 else hardware.get('gpus', '1')} x {gpu}"
    threads = hardware.get("cpu_threads", "?")
    plural = "" if threads == "1" else "s"
    each = f"{processes} processes of " if processes > 1 else ""
    return f"no GPU: {each}{threads} thread{plural}, {hardware.get('machine', '?')}"


def _storage(settings: dict[str, Any]) -> str:
    kind = settings["quant.type"]
    if kind == "none":
        return str(settings["trainer.precision"])
    double = ", double quantization" if settings["quant.double_quant"] else ""
    return f"{kind}{double}, computed in {settings['quant.compute_dtype']}"


def _optimizer(settings: dict[str, Any]) -> str:
    shown = {"beta1": "beta1", "beta2": "beta2", "epsilon": "epsilon",
             "weight_decay": "weight decay", "max_grad_norm": "gradient norm at most"}  # fmt: skip
    text = (f"{name} {settings[f'optimizer.{key}']:g}" for key, name in shown.items())
    ratio = settings.get("optimizer.lora_plus_ratio")
    plus = f", LoRA+ with {ratio:g} times the rate for B" if ratio else ""
    return f"{settings['optimizer.name']}: {', '.join(text)}{plus}"


def _schedule(settings: dict[str, Any]) -> str:
    share, steps = settings["optimizer.warmup_ratio"], settings.get("optimizer.warmup_steps")
    warmup = f", the first {share:.1%} of the steps as warm-up" if share else ""
    if steps:
        warmup = f", the first {steps:,} steps as warm-up"
    floor = settings.get("optimizer.min_learning_rate_ratio")
    lowest = f", down to {floor:.1%} of the largest rate" if floor else ""
    return f"{settings['optimizer.schedule']}{warmup}{lowest}"


def _steps(record: Record) -> str:
    rows, epochs = record.rows["train"], record.settings["trainer.num_epochs"]
    passes = record.steps * record.settings["trainer.batch_size"] / rows
    if epochs is not None:  # the last batch may be smaller
        passes = min(passes, max(epochs, 1 / rows))
    text = f"{record.steps:,}, which is {passes:.3g} epoch{'' if f'{passes:.3g}' == '1' else 's'}"
    if record.ended:
        text += f"; stopped early ({record.ended})"
    if record.best:
        best = record.best["metric"]
        text += f"; the weights are those of step {record.left_at:,}, the best by {best}"
    return text


def _commit(git: dict[str, Any]) -> Facts:
    if not git:
        return []
    changed = ", with changes" if git.get("dirty") else ""
    return [("anima-exp", f"commit {git['commit']}{changed}")]


def _licence(name: str, of: str) -> str:
    found = origin.of_base(name) if of == "base" else origin.of_data(name)
    return found.licence if found else f"check the licence of {name}"
