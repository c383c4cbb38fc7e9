"""Describe the commands that train a model, and those that use one."""

from anima_exp.cli.command import Command

_RUN = "anima_exp.config:RunConfig"
_TRAINING = (
    "lora.rank", "optimizer.learning_rate", "trainer.max_steps", "trainer.num_epochs",
    "trainer.batch_size", "trainer.eval_every", "seed", "runs_dir", "dry_run",
)  # fmt: skip
_RUN_GROUPS = ("model", "data", "quant", "lora", "evals", "tracking", "experiment", "sweep")

TRAIN = (
    Command(
        "train",
        "train",
        "Train an adapter, or with -m all runs of a sweep.",
        "model=guanaco33b data=belle_merge",
        (
            ("", "the packaged model on a CPU"),
            ("model=guanaco33b data=belle_merge", "Anima's run, 80 GB GPU"),
            ("-m sweep=demo", "all of sweeps/demo.yaml"),
            ("-m seed=0,1,2 lora.rank=8,64", "6 runs: all combinations"),
        ),
        _TRAINING,
        _RUN,
        "train",
        _RUN_GROUPS,
        details="Run the same command again to resume a run or to finish a sweep.",
    ),
    Command(
        "plan",
        "plan",
        "Show memory, tokens and hours before anything is loaded.",
        "model=guanaco33b data=belle_merge",
        (
            ("model=guanaco33b data=belle_merge", "one run, on each kind of GPU"),
            ("-m sweep=lora_search", "every run of a sweep, and their sum"),
        ),
        ("trainer.num_gpus", "trainer.batch_size", "data.max_response_tokens", "data.max_tokens"),
        _RUN,
        "plan",
        _RUN_GROUPS,
        details="It takes every setting of anima-exp train, and starts nothing.",
    ),
    Command(
        "data",
        "inspect_data",
        "Look at a data set: lengths, truncation, faults, example rows.",
        "data=local data.path=FILE data.recipe=alpaca",
        (
            ("data=belle_merge model=llama7b", "lengths in tokens of llama7b"),
            ("data=local data.path=FILE data.recipe=alpaca", "your own file"),
            ("data=local data.path=FILE data.recipe=auto html=data.html", "conversations; a page"),
        ),
        (
            "data.path",
            "data.recipe",
            "data.max_rows",
            "data.max_prompt_tokens",
            "data.max_response_tokens",
            "data.max_tokens",
            "data.template",
            "data.train_on",
            "show_rows",
            "show_row",
            "html",
            "cache_dir",
        ),
        "anima_exp.config:InspectDataConfig",
        "data",
        ("data", "model"),
        details="Bad rows are counted, not refused.",
    ),
    Command(
        "check",
        "self_check",
        "Check that a run computes the right gradients for your model.",
        "model=llama7b data=alpaca",
        (
            ("model=llama7b data=alpaca", "one batch, computed in both ways"),
            ("model=local model.source=FOLDER trainer.batch_size=4", "your own model"),
        ),
        ("trainer.batch_size", "trainer.precision", "lora.target_modules"),
        _RUN,
        "self_check",
        ("model", "data", "quant", "lora"),
        details="It takes every setting of anima-exp train, and trains nothing.",
    ),
)

USE = (
    Command(
        "evaluate",
        "evaluate",
        "Measure a run, an adapter or a base model with any evaluations.",
        "run=runs/NAME evals=[mmlu,cmmlu]",
        (
            ("run=runs/NAME evals=[mmlu]", "scores are kept in the run's folder"),
            ("model=llama7b adapter=FOLDER_OR_HUB_ID evals=[mmlu,cmmlu]", "an adapter"),
        ),
        ("run", "adapter", "subjects", "export_prompts", "evals.mmlu.path"),
        "anima_exp.config:EvaluateConfig",
        "evaluate",
        ("evals", "model", "data", "quant"),
    ),
    Command(
        "generate",
        "generate",
        "Ask a run, an adapter or a base: one question, a file, or a chat.",
        'run=runs/NAME prompt="Introduce yourself"',
        (
            ("run=runs/NAME", "a chat"),
            ('run=runs/NAME prompt="Introduce yourself" include_base=true', "one answer"),
            ("run=runs/NAME questions=FILE out=answers.jsonl", "answers to all of a file"),
        ),
        (
            "run",
            "adapter",
            "prompt",
            "messages",
            "questions",
            "out",
            "system",
            "extra_adapters",
            "include_base",
            "temperature",
            "max_new_tokens",
        ),
        "anima_exp.config:GenerateConfig",
        "generate",
        ("model", "data", "quant"),
    ),
    Command(
        "merge",
        "merge",
        "Merge an adapter into its base: a folder for plain transformers.",
        "run=runs/NAME out=merged",
        (
            ("run=runs/NAME out=merged", "verified against the trained model"),
            ("adapter=FOLDER_OR_HUB_ID out=merged target=dequantized", "any adapter"),
        ),
        ("run", "adapter", "out", "target", "dtype", "verify", "max_divergence"),
        "anima_exp.config:MergeConfig",
        "merge",
        ("model", "quant"),
    ),
    Command(
        "publish",
        "publish",
        "Upload an adapter or a model to the Hugging Face hub.",
        "run=runs/NAME push=user/name",
        (
            ("run=runs/NAME push=user/name", "check and show what would be uploaded"),
            ("folder=merged push=user/name confirm=true", "upload a merged model"),
        ),
        ("run", "folder", "push", "base", "private", "confirm"),
        "anima_exp.config.commands:PublishConfig",
        "publish",
        details="The token comes from `hf auth login` or from HF_TOKEN.",
    ),
)
