"""Write the model card of a run from its record: what others need to assess and load the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import Thinking
from anima_exp.data.formats import CHAT
from anima_exp.display import tables
from anima_exp.display.tables import Column
from anima_exp.errors import RunError, first_line
from anima_exp.inference import saved_model
from anima_exp.model_card import facts, origin, snippets
from anima_exp.model_card.eval_results import eval_results
from anima_exp.model_card.metadata import (
    UNDECIDED,
    front_matter,
    licence,
    of_merged_adapter,
)
from anima_exp.model_card.scores import Measured, Rows, columns
from anima_exp.model_card.snippets import fenced, inline_code, plain, section
from anima_exp.results import training_report
from anima_exp.results.journal import ACCURACIES, MetricsLog
from anima_exp.results.record import Record
from anima_exp.results.training_report import TrainingReport
from anima_exp.system import json_files
from anima_exp.system.json_lines import JsonLinesLog

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# The card of a merged model.


_NO_PROMPT = "A QUESTION IN THE FORMAT THAT THE ADAPTER WAS TRAINED ON"


@dataclass(frozen=True)
class Merged:
    """The facts of a merge for its model card."""

    facts: facts.Facts  # the adapter and the base
    verification: Sequence[Column]  # table of the verification; empty if there was none
    sentences: Sequence[str]  # notes on the verification
    dtype: str  # of the weights: bf16, fp16, fp32
    remote_code: bool  # loading needs the model's own code

    def loading(self, prompt: str | snippets.Question) -> str:
        return snippets.of_model(prompt, dtype=self.dtype, remote_code=self.remote_code)


def merged_opening(name: str, merge: Merged) -> list[str]:
    """Return the first sections: title, description, and how the model was made."""
    table = tables.markdown_table(merge.verification) + "\n" if merge.verification else ""
    return [
        f"# {plain(name)}, merged\n",
        "A LoRA adapter merged into its base by anima-exp: a model for plain transformers.\n",
        section("Merge", merge.facts),
        table + "".join(f"{plain(one)}\n" for one in merge.sentences),
    ]


def merged_card(name: str, settings: Mapping[str, Any], fingerprint: str, merge: Merged) -> str:
    """Return the card of a merged model whose adapter's training is unknown, as Markdown.

    Args:
        name: the name of the adapter.
        settings, fingerprint: those of the base.
    """
    base = origin.base_origin(settings, fingerprint)
    named = facts.base_named(settings, base)
    parts = [
        *merged_opening(name, merge),
        section("Base", named),
        "## Data, scores, training\n\nNot known here. See the adapter's own model card.\n",
        f"## How to load it\n\n{fenced(merge.loading(_NO_PROMPT), 'python')}",
        "## Licence\n\nNot chosen yet. The head of this file says `other` until the publisher "
        "chooses a licence. It may not allow more than the licences of the base "
        f"({plain(dict(named)['licence'])}), of the adapter and of the adapter's data.\n",
    ]
    return of_merged_adapter(base) + "\n" + "\n".join(parts)


FILE = "README.md"


@dataclass(frozen=True)
class Chat:
    """How a run is prompted in its chat template."""

    question: snippets.Question
    prompt: str  # what the template makes of it

    @classmethod
    def of(cls, record: Record, tokenizer: "PreTrainedTokenizerBase") -> "Chat | None":
        """Return it for a run that is prompted in a chat template; None for others."""
        from anima_exp.data.prompts import ChatOptions, Prompter  # imports numpy

        if not (snippets.is_chat(record.settings) and tokenizer.chat_template):
            return None
        asked = snippets.chat_question(record.settings, str(tokenizer.chat_template))
        options = ChatOptions(thinking=record.settings.get("data.thinking") or Thinking.template)
        return cls(asked, Prompter(CHAT, tokenizer, options).prompt(asked.text).text)


def card(
    record: Record,
    *,
    before: Measured,
    after: Measured,
    modules: Sequence[str],
    begin: str,
    end: str,
    chat: Chat | None = None,
    merge: Merged | None = None,
) -> str:
    """Return the card of a run as Markdown, which depends only on the arguments.

    Args:
        before, after: the evaluations at step 0 and at the last step.
        modules: names of the layers that have an adapter.
        begin, end: the texts of BOS (may be empty) and EOS.
        chat: how the run is prompted, if a chat template writes its prompts.
        merge: how the run's adapter was merged into its base; None if it was not.
    """
    prompt = chat.prompt if chat else snippets.example(record.settings, begin=begin)
    asked = chat.question if chat else prompt
    lines = merge.loading(asked) if merge else snippets.loading_code(record, asked)
    parts = [
        *(merged_opening(record.name, merge) if merge else _opening(record)),
        section("Base", facts.base(record)),
        section("Data", facts.data(record)),
        f"## Scores{' before the merge' * bool(merge)}\n\n{_scores(record, before, after)}",
        f"## How to ask it\n\n{_how_to_ask(record, prompt, end, chat)}",
        f"## How to load it\n\n{fenced(lines, 'python')}",
        section("Training", facts.training(record, modules)),
        *_what_is_trained(record),
        section("Cost", facts.cost(record)),
        f"## Licence\n\n{_licence(record)}",
    ]
    # The scores are the adapter's. Those of a merged model are not known.
    results = [] if merge else eval_results(record, after)
    return front_matter(record, merged=bool(merge), results=results) + "\n" + "\n".join(parts)


_COUNTS = (1, 3, 5)  # columns of numbers in the table by kind of module


def _what_is_trained(record: Record) -> list[str]:
    """Return the section of the report before training; none for records that have no report."""
    if not record.report:
        return []
    report = TrainingReport.of(record.report)
    columns = [
        Column(
            heading, [row[place] for row in training_report.rows(report)], right=place in _COUNTS
        )
        for place, heading in enumerate(training_report.HEADINGS)
    ]
    facts_of = {
        heading: text
        for heading, text in training_report.lines(report).items()
        if heading not in ("modules", "frozen")
    }
    return [section("What is trained", [*facts_of.items()]), tables.markdown_table(columns) + "\n"]


def _opening(record: Record) -> list[str]:
    what = "fine-tuned model" if record.is_full_finetune else "LoRA adapter"
    return [f"# {plain(record.name)}\n", f"A {what}, trained and measured by anima-exp.\n"]


def _scores(record: Record, before: Measured, after: Measured) -> str:
    if not after.scores:
        return "None: the run measured nothing.\n"
    return (
        tables.markdown_table(columns(record, before=before, after=after))
        + "\nIn brackets: 95 % intervals from the number of questions, or from the rows of a text. "
        "They do not include the variation between seeds. A loss is a mean over tokens and has no "
        "interval.\n"
    )


def _how_to_ask(record: Record, prompt: str, end: str, chat: Chat | None) -> str:
    if chat:
        name = record.settings.get("data.template")
        of = f" (data.template={inline_code(Path(name).name)})" if name else ""
        return (
            f"In the chat template that is saved with its tokenizer{of}; an answer was taught to "
            f"end in {inline_code(end)}. A question is put as\n\n{fenced(prompt, 'text')}"
        )
    template = inline_code(snippets.template(record.settings))
    text = (
        f"In the format {template}, to the letter; "
        f"an answer was taught to end in {inline_code(end)}."
    )
    if snippets.written_by_others(record.settings):
        text = (
            f"The training rows were written by {inline_code(record.settings['data.recipe'])}, "
            f"which is not part of this. The run's format for questions is {template}."
        )
    return f"{text}\n\n{fenced(prompt, 'text')}"


def _licence(record: Record) -> str:
    if licence(record) != UNDECIDED:
        return "Apache-2.0, like the base and the data, which are parts of anima-exp.\n"
    base, data = (dict(text)["licence"] for text in (facts.base(record), facts.data(record)))
    return (
        "Not chosen yet. The head of this file says `other` until the publisher chooses a licence. "
        f"It may not allow more than the licences of the base ({plain(base)}) and of the data "
        f"({plain(data)}).\n"
    )


# The card of a run: from its live objects, or from the files of its folder.


def of_run(
    record: Record,
    journal: MetricsLog,
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
) -> str:
    """Return the card of a run that has just ended. `model` may have an adapter."""
    adapters = getattr(model, "peft_config", {})
    named = {name for one in adapters.values() for name in one.target_modules}
    return card(
        record,
        before=Measured(record.scores_before, journal.accuracies(0)),
        after=Measured(record.scores, journal.accuracies(record.left_at)),
        modules=_last_parts(named),
        begin=tokenizer.bos_token or "",
        end=tokenizer.eos_token,
        chat=Chat.of(record, tokenizer),
    )


def of_folder(run: Path, trained: Path, merge: Merged | None = None) -> str:
    """Return the card of a finished run from its folder.

    Args:
        trained: the folder of its adapter or model.
        merge: how the adapter was merged into its base, for the card of the merged model.
    """
    record = saved_model.record(run)
    rows = JsonLinesLog(run / ACCURACIES).rows()
    tokenizer = _table(trained / "tokenizer_config.json")
    adapter = trained / "adapter_config.json"
    named = _table(adapter).get("target_modules") or () if adapter.exists() else ()
    return card(
        record,
        before=Measured(record.scores_before, _at(0, rows)),
        after=Measured(record.scores, _at(record.left_at, rows)),
        modules=_last_parts(named),
        begin=_text(tokenizer.get("bos_token")),
        end=_text(tokenizer.get("eos_token")),
        chat=_chat_of(record, trained),
        merge=merge,
    )


def _chat_of(record: Record, trained: Path) -> Chat | None:
    if not snippets.is_chat(record.settings):
        return None
    from transformers import AutoTokenizer

    try:
        return Chat.of(record, AutoTokenizer.from_pretrained(trained))
    except (OSError, ValueError) as error:
        raise RunError(f"{trained}: its tokenizer cannot be read: {first_line(error)}") from error


def _table(file: Path) -> dict[str, Any]:
    try:
        return json_files.read_table(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{file} cannot be read: {reason}.") from error


def _at(step: int, rows: Rows) -> Rows:
    return [row for row in rows if row["step"] == step]


def _last_parts(names: Iterable[str]) -> list[str]:
    """Return the last parts of module names: q_proj, v_proj, ..."""
    return sorted({name.rpartition(".")[2] for name in names})


def _text(token: object) -> str:
    """Return the text of a special token, which is stored as null, a text or an object."""
    return str(token["content"] if isinstance(token, dict) else token or "")
