"""What `make gpu-hollow` runs: a table of cases. To add one, add a line.

Runs with the same `process` share a process, which saves ten seconds of imports each. A case with a
`command` has a process of its own, as a user starts it. {runs} stands for the folder of all runs,
{base} for that of a base that make_base.py wrote.
"""

from dataclasses import dataclass, field
from typing import Any

# For every run: two steps of eight short rows, evaluated before and after.
SHORT = (
    "trainer.max_steps=2",
    "trainer.save_every=2",
    "trainer.log_every=1",
    "trainer.batch_size=8",
    "trainer.eval_every=null",
    "data.max_rows=64",
    "data.heldout_rows=8",
    "evals=[heldout]",
    "tracking=none",
    "cache_dir={runs}/cache",
)
BF16 = "trainer.precision=bf16"


@dataclass(frozen=True)
class Case:
    """One line of the report.

    Args:
        settings: overrides of a training run, or the arguments of `command`.
        process: the process that it shares with other runs.
        command: a module of anima_exp, or pytest, for a process of its own.
        after: the case whose folder it reads.
        pause_at: stop after this step and start again.
        gpus, memory_mib, context_mib, reuse_memory: see hollow_gpu.environment.
        record: fields of record.json and what they must be; "execution.recompute" is nested.
        paged: after the last step, whether the optimizer's states are in paged memory.
        log: texts that the log must hold.
        allowed: texts of lines that the log may hold, although they warn.
        files: paths below {runs} that must exist afterwards.
    """

    name: str
    settings: tuple[str, ...]
    process: str = ""
    command: str = ""
    after: str = ""
    pause_at: int | None = None
    gpus: int = 1
    memory_mib: int | None = None
    context_mib: int | None = None
    reuse_memory: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    paged: bool | None = None
    log: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def machine(self) -> tuple[Any, ...]:
        """What cases that share a process must have in common."""
        return (self.process, self.gpus, self.memory_mib, self.context_mib, self.reuse_memory)


def _run(name: str, *settings: str, process: str, **more: Any) -> Case:
    recompute = [
        one.partition("=")[2]
        for one in settings
        if one.startswith("trainer.activation_checkpointing=")
    ]
    record = {"execution.recompute": recompute[0]} if recompute else {}
    record |= {"steps": 2, "execution.out_of_memory": 0, **more.pop("record", {})}
    return Case(name, (*SHORT, *settings), process=process, record=record, **more)


def _train(name: str, *settings: str, **more: Any) -> Case:
    arguments = (*SHORT, *settings, "run_dir={runs}/" + name)
    return Case(name, arguments, command="train", files=(f"{name}/record.json",), **more)


NO_COPY = "quant.cache_dequantized=false"
FULL_FINE_TUNING = ("lora=full_finetune", "quant=none", "optimizer.learning_rate=1e-5")

CASES = [
    # How the base is stored, what the backward pass computes again, which optimizer.
    _run("nf4", BF16, process="storage"),
    _run("nf4-selective", BF16, NO_COPY, "trainer.activation_checkpointing=selective",
         process="storage"),
    _run("nf4-full", BF16, NO_COPY, "trainer.activation_checkpointing=full", process="storage"),
    _run("nf4-fp16", "trainer.precision=fp16", "trainer.activation_checkpointing=none",
         process="storage"),
    _run("nf4-fp32", "trainer.precision=fp32", process="storage"),
    _run("nf4-without-liger", BF16, "trainer.liger=false", process="storage"),
    _run("fp4", BF16, "quant=fp4", process="storage"),
    _run("fp4-attention", BF16, "quant=fp4", NO_COPY, "lora=attention", process="storage"),
    _run("int8", BF16, "quant=int8", process="storage"),
    _run("int8-fp16-full", "trainer.precision=fp16", "quant=int8",
         "trainer.activation_checkpointing=full",
         process="storage"),
    _run("none-selective", BF16, "quant=none", "trainer.activation_checkpointing=selective",
         process="storage"),
    _run("eager-attention", BF16, "model.attention=eager", process="storage"),
    _run("8-bit", BF16, "optimizer=paged_adamw_8bit", "lora.rank=512", process="optimizers"),
    _run("adamw", BF16, "optimizer=adamw", "lora.rank=512", process="optimizers"),
    _run("lora-plus", BF16, "optimizer.lora_plus_ratio=4",
         "optimizer.schedule=warmup_stable_decay", process="optimizers"),
    _run("every-weight", BF16, *FULL_FINE_TUNING, "optimizer=adamw", process="optimizers"),
    _run("every-weight-8-bit", BF16, *FULL_FINE_TUNING, "optimizer=paged_adamw_8bit",
         "trainer.activation_checkpointing=full", process="optimizers"),
    _run("best-weights", BF16, "trainer.keep_best=heldout_loss", "trainer.patience=1",
         "trainer.eval_every=1", process="optimizers"),
    _run("answers", BF16, "evals=[heldout,samples,exact_match,choices]",
         "evals.choices.max_questions=3", "evals.exact_match.max_rows=3",
         "evals.exact_match.max_new_tokens=4", "evals.samples.max_new_tokens=4",
         process="optimizers"),
    # Interrupted runs. With optimizer states beside the rest the second does not fit its GPU, so
    # they are in paged memory, after the interruption too; those of 8 bits always are.
    _run("resume", BF16, "lora.rank=512", process="optimizers", pause_at=1, record={"starts": 2},
         paged=False),
    _run("resume-paged", BF16, "lora.rank=2048", process="small", pause_at=1, paged=True,
         memory_mib=1660, context_mib=1340, record={"starts": 2}),
    _run("resume-8-bit", BF16, "optimizer=paged_adamw_8bit", "lora.rank=512", process="optimizers",
         pause_at=1, record={"starts": 2}, paged=True),
    _run("resume-adamw-fp16", "trainer.precision=fp16", "optimizer=adamw", "lora.rank=512",
         process="optimizers", pause_at=1, record={"starts": 2}, paged=False),
    # A base of 130 MB with grouped queries and normalized heads: kept quantized, loaded again.
    _run("snapshot-kept", BF16, "model=local", "model.source={base}", process="base",
         log=("kept in",)),
    _run("snapshot-loaded", BF16, "model=local", "model.source={base}", "seed=1", process="base",
         log=("already quantized, from",)),
    _run("grouped-queries-selective", BF16, "model=local", "model.source={base}", NO_COPY,
         "trainer.activation_checkpointing=selective", process="base"),
    # Experts in 4 bits, frozen and with adapters, and convolutions row by row.
    _run("experts", BF16, "model=local", "model.source={base}-experts", process="experts"),
    _run("experts-adapted", BF16, "model=local", "model.source={base}-experts", NO_COPY,
         "lora.experts=true", "lora.dropout=0", "trainer.activation_checkpointing=full",
         process="experts"),
    _run("hybrid", BF16, "model=local", "model.source={base}-hybrid", process="experts"),
    # LoRA's variants. Initializations decompose matrices, for which there is no hollow library.
    _run("dora", BF16, "lora.variant=dora", "lora.dropout=0.1", process="variants"),
    _run("rslora-fp16", "trainer.precision=fp16", "lora.variant=rslora",
         "lora.rank_pattern=[q_proj:8]", process="variants"),
    _run("whole-modules", BF16, NO_COPY, "lora.save_modules=[norm]",
         "trainer.activation_checkpointing=selective", process="variants"),
    _run("forgetting", BF16, "evals=[heldout,forgetting]", process="variants"),
    # torch's own allocator, which gives up at the limit: the step is done again in smaller passes.
    _run("out-of-memory", BF16, NO_COPY, "trainer.activation_checkpointing=none",
         "trainer.max_tokens_per_micro_batch=60000",
         "trainer.batch_size=400", "evals=[]", "trainer.eval_at_start=false", "data.max_rows=500",
         process="memory", memory_mib=1500, context_mib=1340, reuse_memory=True,
         record={"execution.out_of_memory": range(1, 9)}, log=("Out of memory at step",),
         # From 2.13 on torch itself writes a line for each piece of memory that it does not get.
         allowed=("CUDACachingAllocator.cpp",)),
    # Two GPUs.
    _train("two-processes", BF16, "trainer.num_gpus=2", gpus=2),
    _run("two-processes-resume", BF16, "trainer.num_gpus=2", process="launching", gpus=2,
         pause_at=1,
         record={"starts": 2, "processes": 2}),
    _train("sharded-base", BF16, "trainer.num_gpus=2", "trainer.fsdp=true", gpus=2),
    _run("device-map-auto", BF16, "model.device_map=auto", process="two", gpus=2),
    _run("device-map-balanced", BF16, "model.device_map=balanced", process="two", gpus=2),
    Case("sweep",
         ("-m", "seed=0,1,2", *SHORT, BF16, "runs_dir={runs}/sweep"), command="train", gpus=2,
         files=("sweep/*/record.json",) * 3),
    # A finished run in use.
    Case("generate", ("run={runs}/nf4", "prompt=Hello", "max_new_tokens=4"), command="generate",
         after="nf4"),
    Case("evaluate", ("run={runs}/nf4", "evals=[heldout,choices]",
                      "evals.choices.max_questions=3"), command="evaluate", after="nf4"),
    Case("merge", ("run={runs}/nf4", "out={runs}/merged"), command="merge", after="nf4",
         files=("merged/config.json",)),
    # The tests that need a GPU, up to their first assertion about a number.
    # Those of two GPUs, and of a finished run in use, are cases above.
    Case("gpu-tests", ("-m", "gpu", "-k", "not adapter and not later and not merged", "tests/gpu",
                       "-p", "hollow_pytest", "-p", "no:cacheprovider", "--tb=short"),
         command="pytest"),
]  # fmt: skip
