"""Read conversations from rows whose turns are texts: OASST1, HH-RLHF, BELLE, Alpaca with history.

Each function reads one row and has no side effects. For a row that it cannot read it raises a
DataError. The caller adds the file and the row's number, and checks the conversation.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.parts import kind_of
from anima_exp.data.chat.rows import ROLE_NAMES, assistant, with_system
from anima_exp.data.chat.rules import message_error, shown
from anima_exp.data.example import Row, missing_column
from anima_exp.errors import DataError

_OASST1 = re.compile(r"### (Human|Assistant):")
_HH_RLHF = re.compile(r"\n\n(Human|Assistant):")
_BELLE = re.compile(r"^[ \t]*(Human|Assistant):", re.MULTILINE)


def alpaca_chat(row: Row) -> Conversation:
    """Read Alpaca's columns with history, a list of pairs of turns, and system: LLaMA-Factory.

    The columns input, history and system may be empty or missing. No prompt template is applied.
    """
    found: list[Message] = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise DataError(f"column 'history' is {kind_of(history)}, not a list of pairs")
    for number, pair in enumerate(history, start=1):
        texts = list(pair) if isinstance(pair, list | tuple) else []
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise DataError(f"item {number} of column 'history' is not a pair of texts")
        found.append(Message("user", texts[0], number=len(found) + 1))
        found.append(assistant(texts[1], len(found) + 1))
    lines = [_text(row, "instruction")]
    if row.get("input") not in (None, ""):
        lines.append(_text(row, "input"))
    found.append(Message("user", "\n".join(lines), number=len(found) + 1))
    found.append(assistant(_text(row, "output"), len(found) + 1))
    return Conversation(tuple(with_system(row, found)))


def oasst1_chat(row: Row) -> Conversation:
    """Read a dialogue from the column text, or a tree of messages from the column prompt: OASST1.

    The text has the form `### Human: ...### Assistant: ...`. Of a tree, each turn is the reply
    with the best rank, and the last turn is the assistant's, as in Guanaco's training data.
    """
    if is_tree_message(row):
        raise DataError(
            "the row is one message of a tree, not a conversation. Use OASST1's file of trees"
        )
    if "text" not in row and isinstance(row.get("prompt"), Mapping):
        return Conversation(tuple(_best_path(row["prompt"])))
    return Conversation(tuple(_turns(_text(row, "text"), _OASST1, "text")))


def is_tree_message(row: Row) -> bool:
    """Return whether a row is one message of a tree, which `oasst1_trees` joins to trees."""
    return "parent_id" in row and "role" in row


def oasst1_trees(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Join OASST1's rows of one message each to rows of one tree each.

    Returns:
        The trees in the order of their first messages, and the number of messages in no tree
        because a message before them is missing.

    Raises:
        DataError: a row has no message_id or parent_id, or an id occurs twice.
    """
    messages: dict[str, dict[str, Any]] = {}
    for row in rows:
        for column in ("message_id", "parent_id"):
            if column not in row:
                raise missing_column(row, column)
        if row["message_id"] in messages:
            raise DataError(f"two messages have the message_id '{shown(row['message_id'])}'")
        messages[row["message_id"]] = {**row, "replies": []}
    roots, in_trees = [], 0
    for message in messages.values():
        if message["parent_id"] is None:
            roots.append(message)
        elif message["parent_id"] in messages:
            messages[message["parent_id"]]["replies"].append(message)
    waiting = list(roots)
    while waiting:
        in_trees += 1
        waiting += waiting.pop()["replies"]
    trees: list[Row] = [{"message_tree_id": root["message_id"], "prompt": root} for root in roots]
    return trees, len(messages) - in_trees


def hh_rlhf_chat(row: Row) -> Conversation:
    """Read the dialogue in the column chosen as turns: HH-RLHF."""
    return Conversation(tuple(_turns(_text(row, "chosen"), _HH_RLHF, "chosen")))


def belle_chat(row: Row) -> Conversation:
    """Read earlier turns from the column instruction, the answer from output: BELLE's dialogues.

    The instruction has the form `Human:...\\nAssistant:...\\nHuman:...\\nAssistant:`.
    """
    found = _turns(_text(row, "instruction"), _BELLE, "instruction")
    if row.get("input") not in (None, ""):
        raise DataError("column 'input' is not empty, but it has no place among the turns")
    if found[-1].role == "assistant":
        if found[-1].content:
            raise message_error(
                found[-1].number, "assistant", "column 'instruction' has the answer already"
            )
        found.pop()
    return Conversation((*found, assistant(_text(row, "output"), len(found) + 1)))


def _turns(text: str, mark: re.Pattern[str], column: str) -> list[Message]:
    """Split a text at the marks of its turns, without the spaces around a turn."""
    before, *pieces = mark.split(text)
    if not pieces:
        raise DataError(f"column '{column}' has no turn 'Human:' or 'Assistant:' of this format")
    if before.strip():
        raise DataError(f"column '{column}' has text before its first turn")
    found = []
    for number, (name, turn) in enumerate(zip(pieces[::2], pieces[1::2], strict=True), start=1):
        content = turn.strip()
        human = name == "Human"
        found.append(
            Message("user", content, number=number) if human else assistant(content, number)
        )
    return found


def _best_path(root: Mapping[str, Any]) -> list[Message]:
    found: list[Message] = []
    node: Mapping[str, Any] | None = root
    while node is not None:
        number, name, text = len(found) + 1, node.get("role"), node.get("text")
        role = ROLE_NAMES.get(name) if isinstance(name, str) else None
        if role not in ("user", "assistant"):
            raise message_error(number, name, "unknown role. The roles are prompter and assistant")
        if not isinstance(text, str):
            raise message_error(number, name, f"its text is {kind_of(text)}")
        found.append(
            assistant(text, number) if role == "assistant" else Message("user", text, number=number)
        )
        node = min(_replies(node, number, name), key=_rank, default=None)
    while found and found[-1].role != "assistant":
        found.pop()
    return found


def _replies(node: Mapping[str, Any], number: int, role: object) -> list[Mapping[str, Any]]:
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, Mapping) for reply in replies):
        raise message_error(number, role, "its replies are not a list of objects")
    for reply in replies:
        rank = reply.get("rank")
        if rank is not None and not isinstance(rank, int | float):
            raise message_error(number, role, f"the rank of a reply is {kind_of(rank)}")
    return [reply for reply in replies if not reply.get("deleted")]


def _rank(reply: Mapping[str, Any]) -> float:
    rank = reply.get("rank")
    return float("inf") if rank is None else float(rank)


def _text(row: Row, column: str) -> str:
    if column not in row:
        raise missing_column(row, column)
    value = row[column]
    if not isinstance(value, str):
        raise DataError(f"column '{column}' is {kind_of(value)}, not text")
    return value
