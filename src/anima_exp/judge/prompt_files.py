"""Prompt and reviewer files in FastChat's form -> prompts."""

import hashlib
import json
from dataclasses import dataclass
from string import Formatter
from typing import Any

from anima_exp.data.file_rows import FileRow, read
from anima_exp.errors import DataError
from anima_exp.judge.prompts import Message

_TEXTS = ("question", "answer_1", "answer_2")


@dataclass(frozen=True)
class FilePrompt:
    """One row of a prompt file, and what a reviewer file adds to it."""

    number: int
    category: str
    system: str
    template: str
    defaults: dict[str, str]
    temperature: float | None = None
    max_tokens: int | None = None

    @property
    def sha256(self) -> str:
        words = json.dumps([self.system, self.template, self.defaults], sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()

    def messages(self, question: str, first: str, second: str) -> list[Message]:
        # format() does not look into what it fills in: braces in an answer stay as they are.
        user = self.template.format(
            question=question, answer_1=first, answer_2=second, **self.defaults
        )
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def read_prompts(path: str, reviewers: str | None) -> list[FilePrompt]:
    """The prompts, numbered from 1; with reviewers, theirs and in their order.

    Raises:
        DataError: a file or row that cannot be read, or a template that does not show the
            question and both answers.
    """
    prompts: dict[str, FilePrompt] = {}
    for number, row in enumerate(read(path, key="prompts"), start=1):
        prompts[str(row.identifier("prompt_id"))] = _prompt(row, number)
    if reviewers is None:
        return list(prompts.values())
    found = []
    for number, row in enumerate(read(reviewers, key="reviewers"), start=1):
        prompt = prompts.get(str(row.identifier("prompt_id")))
        if prompt is None:
            raise DataError(
                f"{row.where}: prompt_id {row.values['prompt_id']} is not in prompts={path}, "
                f"which has {', '.join(prompts)}."
            )
        found.append(
            FilePrompt(
                number=number,
                category=row.text("category"),
                system=prompt.system,
                template=prompt.template,
                defaults=prompt.defaults,
                temperature=_number(row, "temperature", float),
                max_tokens=_number(row, "max_tokens", int),
            )
        )
    return found


def _prompt(row: FileRow, number: int) -> FilePrompt:
    template, defaults = row.text("prompt_template"), row.values.get("defaults") or {}
    if not isinstance(defaults, dict) or not all(isinstance(v, str) for v in defaults.values()):
        raise DataError(f"{row.where}: field 'defaults' must be an object of texts.")
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise DataError(
            f"{row.where}: prompt_template cannot be read: {error}. Write {{{{ for a brace."
        ) from error
    if unknown := sorted(fields - {*_TEXTS, *defaults}):
        raise DataError(
            f"{row.where}: prompt_template has a field '{unknown[0]}' that nothing fills; "
            f"there are {', '.join([*_TEXTS, *defaults])}."
        )
    if missing := [name for name in _TEXTS if name not in fields]:
        raise DataError(f"{row.where}: prompt_template does not show {{{missing[0]}}}.")
    if clash := sorted(set(defaults) & set(_TEXTS)):
        raise DataError(f"{row.where}: 'defaults' may not hold '{clash[0]}'.")
    return FilePrompt(
        number=number,
        category=row.text("category"),
        system=row.text("system_prompt"),
        template=template,
        defaults=defaults,
    )


def _number(row: FileRow, field: str, kind: type) -> Any:
    value = (row.values.get("metadata") or {}).get(field)
    if value is None:
        return None
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.where}: metadata.{field}={value} is not a number.") from error
