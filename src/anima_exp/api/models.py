"""Use what was trained: load, generate, evaluate, merge.

As the commands of these names, but silent: see experiments.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from anima_exp.api.events import event_context
from anima_exp.cli.from_python import Setting, as_words, compose
from anima_exp.cli.overrides import assignment
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import EvaluateConfig, GenerateConfig, MergeConfig, UseConfig
from anima_exp.inference.saved_model import check_base
from anima_exp.results.record import RECORD, Record
from anima_exp.system.paths import expanded

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Use = TypeVar("Use", bound=UseConfig)


def load(
    trained: Record | str | Path, **settings: Setting
) -> "tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]":
    """Load what a run has trained, for transformers and PEFT.

    Args:
        trained: a record, the folder of a run or of an adapter, or an adapter on the hub.
        settings: change how it is loaded: `quant="none"`, `model="local"`, `model__source=...`.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        AnimaError: if there is no such run or adapter, or its base cannot be loaded.

    Examples:
        >>> model, tokenizer = ax.load(record)
        >>> type(model).__name__
        'PeftModelForCausalLM'
    """
    from anima_exp.distributed.process_state import borrowed
    from anima_exp.inference.saved_model import load_saved_model as loaded

    config = _use(EvaluateConfig, "evaluate", trained, settings)
    check_base(config)
    with borrowed():
        return loaded(config)


@overload
def generate(trained: Record | str | Path, prompt: str, **settings: Setting) -> str: ...
@overload
def generate(trained: Record | str | Path, prompt: list[str], **settings: Setting) -> list[str]: ...
@overload
def generate(
    trained: Record | str | Path, prompt: list[dict[str, object]], **settings: Setting
) -> str: ...
def generate(
    trained: Record | str | Path,
    prompt: str | list[str] | list[dict[str, object]],
    **settings: Setting,
) -> str | list[str]:
    """Ask a model one question, or several that it answers in batches, or continue a conversation.

    Args:
        trained: a record, the folder of a run or of an adapter, or an adapter on the hub.
        prompt: a question, a list of questions, or the messages of one conversation, each with
            `role` and `content`. It is put into the format of the training data.
        settings: those of the command: `temperature=0` is greedy, `max_new_tokens=64`,
            `prompt_template="alpaca"`, `stop=["###"]`; for a chat template `system="Be brief."`,
            `thinking=False`, `tools="tools.json"`.

    Returns:
        The answer, or for a list of questions a list of answers.

    Raises:
        AnimaError: if there is no such run or adapter, the messages cannot be answered, or a
            question leaves no room for an answer.

    Examples:
        >>> ax.generate(record, "2+2=?", temperature=0, max_new_tokens=8)
        '...'
    """
    from anima_exp.inference.ask import answer_questions
    from anima_exp.inference.conversations import of_messages

    several: list[Any] = [prompt] if isinstance(prompt, str) else list(prompt)
    talk = bool(several) and all(isinstance(one, dict) for one in several)
    questions = [of_messages(several, key="prompt")] if talk else several
    result = answer_questions(_use(GenerateConfig, "generate", trained, settings), questions)
    return result[0] if talk or isinstance(prompt, str) else result


def evaluate(
    trained: Record | str | Path,
    evals: Sequence[str] | None = None,
    *,
    verbose: bool = False,
    **settings: Setting,
) -> dict[str, float]:
    """Measure a finished run or an adapter, and save the scores where `compare` reads them.

    Args:
        trained: a record, the folder of a run or of an adapter, or an adapter on the hub.
        evals: names of evaluations, as `["mmlu"]`; by default `["heldout", "exact_match"]`.
        verbose: print what the command prints.
        settings: more settings: `evals__mmlu__shots=0`.

    Returns:
        The scores by name: losses in nats per response token, accuracies as fractions.

    Raises:
        AnimaError: if there is nothing to measure, or the model or a benchmark cannot be loaded.

    Examples:
        >>> sorted(ax.evaluate(record, ["heldout"]))
        ['heldout_loss']
    """
    from anima_exp.evals.heldout_check import check_rows

    chosen = {} if evals is None else {"evals": list(evals)}
    config = _use(EvaluateConfig, "evaluate", trained, {**chosen, **settings})
    check_base(config)
    check_rows(config)
    from anima_exp.evals.report import run  # the first import of torch

    with event_context(verbose):
        return run(config)


def merge(trained: Record | str | Path, out: str | Path, **settings: Setting) -> Path:
    """Merge an adapter into its base: a folder for plain transformers.

    By default the merged model is measured on held-out rows before it is moved to `out`.

    Args:
        trained: a record, the folder of a run or of an adapter, or an adapter on the hub.
        out: the folder to make. It must not exist, or be empty.
        settings: those of the command: `target="dequantized"`, `verify=False`.

    Returns:
        The folder.

    Raises:
        AnimaError: if there is nothing to merge, or no disk space, or the result differs too much.

    Examples:
        >>> folder = ax.merge(record, "merged")
        >>> (folder / "config.json").is_file()
        True
    """
    from anima_exp.merging.run import run

    config = _use(MergeConfig, "merge", trained, {"out": out, **settings})
    check_base(config)
    run(config)
    return expanded(out)


def _use(
    schema: type[Use], program: str, trained: Record | str | Path, settings: Mapping[str, Setting]
) -> Use:
    """Compose the settings of a command that uses a model, with `run=` or `adapter=`."""
    if isinstance(trained, Record):
        place = assignment("run", str(trained.folder))
    else:
        folder = expanded(trained)
        known = any((folder / name).is_file() for name in (RECORD, "settings.json"))
        place = assignment("run" if known else "adapter", str(trained))
    words = [place, *as_words(settings)]
    return compose(schema, words, program=program, expand=expand_run_argument)
