"""In: a model, its tokenizer and tasks or questions; out: the share answered right, by kind."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anima_exp.metrics.text_match import answers_match
from anima_exp.tiny.multiple_choice import LETTERS, Question
from anima_exp.tiny.pretrain.corpus import guanaco_prompt
from anima_exp.tiny.world import Task, tasks

BATCH = 100
LONGEST_ANSWER = 20


def unseen_tasks(language: str, count: int, *, seed: int = 1234) -> list[Task]:
    return list(islice(tasks(language, seed=seed, part="test"), count))


def exact_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, unseen: Sequence[Task]
) -> dict[str, float]:
    """Return the proportion of right greedy answers for each kind of task, and for `all`."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(unseen), BATCH):
        batch = unseen[start : start + BATCH]
        answers = generate(model, tokenizer, [guanaco_prompt(task.instruction) for task in batch])
        for task, answer in zip(batch, answers, strict=True):
            right[task.kind].append(answers_match(answer, task.answer))
            right["all"].append(answers_match(answer, task.answer))
    return {kind: sum(marks) / len(marks) for kind, marks in right.items()}


def choice_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    *,
    bare: bool = False,
) -> float:
    """Return the proportion of questions whose right letter is the likeliest of the four."""
    letters = [tokenizer.encode(letter, add_special_tokens=False)[0] for letter in LETTERS]
    right = 0
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        prompts = [question.text if bare else guanaco_prompt(question.text) for question in batch]
        ids, mask = left_padded(tokenizer, prompts)
        with torch.inference_mode():
            logits = model(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device)
            ).logits[:, -1, letters]
        for question, best in zip(batch, logits.argmax(-1).tolist(), strict=True):
            right += LETTERS[best] == question.answer
    return right / len(questions)


def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]
) -> list[str]:
    ids, mask = left_padded(tokenizer, prompts)
    with torch.inference_mode():
        output = model.generate(  # type: ignore[operator]
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
    return [
        str(tokenizer.decode(row, skip_special_tokens=True)) for row in output[:, ids.shape[1] :]
    ]


def left_padded(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask; padding on the left, so that every answer starts at once."""
    rows = [
        [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        for prompt in prompts
    ]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), int(tokenizer.pad_token_id))
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = torch.tensor(row)
        mask[index, longest - len(row) :] = 1
    return ids, mask
