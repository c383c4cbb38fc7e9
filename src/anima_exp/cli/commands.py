"""The table of commands: what each is for, an example, and which of its settings matter most.

This module imports nothing but dataclasses, so that `anima-exp` alone answers at once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command of the program."""

    name: str
    module: str  # of this package; its function `main` runs the command
    what: str  # one sentence
    example: str  # arguments
    examples: tuple[tuple[str, str], ...]  # more arguments, and what they do
    settings: tuple[str, ...]  # the ones that --help shows
    schema: str  # module:class
    config: str | None = None  # conf/NAME.yaml; None for a command without Hydra
    groups: tuple[str, ...] = ()  # that --help shows
    words: str = ""  # the list setting that words without `=` belong to
    details: str = ""  # a paragraph for --help


_RUN = "anima_exp.config:RunConfig"
_TRAINING = (
    "lora.rank", "optimizer.learning_rate", "trainer.max_steps", "trainer.num_epochs",
    "trainer.batch_size", "trainer.eval_every", "seed", "runs_dir", "dry_run",
)  # fmt: skip
_RUN_GROUPS = ("model", "data", "quant", "lora", "evals", "tracking", "experiment", "sweep")

GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    (
        "Train",
        (
            Command(
                "train",
                "train",
                "Train an adapter, or with -m every cell of a sweep.",
                "model=guanaco33b data=belle_merge",
                (
                    ("", "the tiny world, on a CPU"),
                    ("model=guanaco33b data=belle_merge", "Anima's run, 80 GB GPU"),
                    ("-m sweep=demo", "all of sweeps/demo.yaml"),
                    ("-m seed=0,1,2 lora.rank=8,64", "six runs, each once"),
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
                    ("-m sweep=lora_search", "every cell of a sweep, and their sum"),
                ),
                ("trainer.num_gpus", "trainer.batch_size", "data.max_response_tokens"),
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
                ),
                (
                    "data.path",
                    "data.recipe",
                    "data.max_rows",
                    "data.max_prompt_tokens",
                    "data.max_response_tokens",
                    "cache_dir",
                ),
                _RUN,
                "data",
                ("data", "model"),
                details="Bad rows are counted, not refused.",
            ),
            Command(
                "check",
                "self_check",
                "Check the fast gradients of your model against reference ones.",
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
        ),
    ),
    (
        "Use a run",
        (
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
                    "questions",
                    "out",
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
        ),
    ),
    (
        "Compare",
        (
            Command(
                "runs",
                "list_runs",
                "List the runs of a folder: status, step, age, main score.",
                "status=running",
                (
                    ("", "all runs in runs/, the newest first"),
                    ("runs/sweeps/NAME status=[failed,stopped]", "some of a sweep's cells"),
                ),
                ("folder", "status", "sort", "limit", "format"),
                "anima_exp.inspection.options:RunsConfig",
                words="folder",
            ),
            Command(
                "show",
                "show_run",
                "Show one run: settings, scores, files, and how to resume it.",
                "runs/NAME",
                (
                    ("runs/NAME", "by its folder"),
                    ("tiny-sample-61 format=json", "by the beginning of its name"),
                ),
                ("run", "runs_dir", "files", "format"),
                "anima_exp.inspection.options:ShowConfig",
                words="run",
            ),
            Command(
                "diff",
                "diff_runs",
                "Show what differs between two runs: settings, scores, costs.",
                "runs/A runs/B",
                (
                    ("runs/A runs/B", "by their folders"),
                    ("tiny-sample-61 tiny-sample-fe format=csv", "by the beginnings of names"),
                ),
                ("runs", "runs_dir", "format"),
                "anima_exp.inspection.options:DiffConfig",
                words="runs",
            ),
            Command(
                "compare",
                "compare",
                "Compare runs: a leaderboard, and which settings matter.",
                "runs/sweeps/NAME html=report.html",
                (
                    ("runs", "every run in a folder"),
                    ("runs/sweeps/NAME html=report.html", "and a page with plots"),
                    ("runs 'filter=[lora.rank>=8]' baseline=lora.rank=8", "against a baseline"),
                ),
                (
                    "runs",
                    "metric",
                    "sort",
                    "filter",
                    "best_per",
                    "baseline",
                    "ratings",
                    "top",
                    "format",
                    "html",
                    "wandb",
                ),
                "anima_exp.comparison.options:CompareConfig",
                words="runs",
            ),
            Command(
                "judge",
                "judge",
                "Let a judge model compare answers, pair by pair.",
                "answers=[a.jsonl,b.jsonl] judge_model=gpt-4",
                (
                    ("answers=[a.jsonl,b.jsonl] judge_model=gpt-4 dry_run=true", "calls and cost"),
                    ("answers=[a.jsonl,b.jsonl] judge=reference", "by reference answers, offline"),
                ),
                (
                    "answers",
                    "questions",
                    "out",
                    "kind",
                    "reference_player",
                    "judge",
                    "judge_model",
                    "base_url",
                    "max_calls",
                    "max_cost",
                    "dry_run",
                ),
                "anima_exp.config.commands:JudgeConfig",
                "judge",
                details="The key is read from the variable that api_key_env names.",
            ),
            Command(
                "elo",
                "elo",
                "Rate models from verdicts: Elo, Bradley-Terry, the judge's bias.",
                "ratings html=tournament.html",
                (
                    ("ratings/vicuna", "a folder of verdicts"),
                    ("ratings/*.jsonl matches=500", "Elo as in QLoRA's Table 1"),
                ),
                (
                    "verdicts",
                    "answers",
                    "questions",
                    "reference",
                    "permutations",
                    "matches",
                    "k",
                    "sequential",
                    "initial_rating",
                    "format",
                    "out",
                    "html",
                ),
                "anima_exp.tournament.options:EloConfig",
                words="verdicts",
            ),
        ),
    ),
    (
        "Get help",
        (
            Command(
                "doctor",
                "doctor",
                "Check this machine: torch, GPUs, memory, disk, accounts.",
                "",
                (("", "what it can do, and what is wrong"), ("format=json", "for a program")),
                ("network", "runs_dir", "cache_dir", "format"),
                "anima_exp.diagnostics.options:DoctorConfig",
            ),
            Command(
                "help",
                "cli.help_command",
                "Explain a command, a setting, a group, a choice or a metric.",
                "trainer.batch_size",
                (
                    ("trainer.batch_size", "a setting"),
                    ("model", "the choices of a group"),
                    ("model=guanaco33b", "one choice"),
                    ("heldout_loss", "a metric"),
                ),
                (),
                "",
            ),
            Command(
                "completion",
                "cli.completion_command",
                "Print a script that completes commands and settings with Tab.",
                "bash",
                (
                    ("bash >> ~/.bash_completion", "for bash"),
                    ("zsh > ~/.zsh/_anima-exp", "for zsh, in a folder of $fpath"),
                    ("fish > ~/.config/fish/completions/anima-exp.fish", "for fish"),
                ),
                (),
                "",
            ),
        ),
    ),
)

COMMANDS = {command.name: command for _, commands in GROUPS for command in commands}
# Names of modules, which users of `python -m anima_exp.NAME` know.
FORMER = {"self_check": "check", "self-check": "check", "inspect_data": "data"}


def find(name: str) -> Command | None:
    """Return the command called `name`, also by the name of its module."""
    return COMMANDS.get(FORMER.get(name, name))
