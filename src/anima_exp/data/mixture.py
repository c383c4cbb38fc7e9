"""Join the parts of data=mixture: how much of each is used, and what is counted of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from anima_exp.config import DataConfig, MixBy
from anima_exp.config.catalogue import check_rows_seen
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.prepare import ChatData
from anima_exp.data.chat.segments import LABELS
from anima_exp.data.mixed import MixedDataset, amounts, taken
from anima_exp.data.orders import Order
from anima_exp.data.part_counts import PartCounts
from anima_exp.data.parts import parts_of, weights_of
from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.source import joint_fingerprint_of
from anima_exp.data.splits import DatasetSplits, count
from anima_exp.errors import DataError
from anima_exp.system.paths import known_path


def joined(config: DataConfig, splits: Mapping[str, DatasetSplits]) -> DatasetSplits:
    """Return the rows of all parts as one data set.

    Args:
        splits: what `prepare` returned for each part, by name.

    Raises:
        ConfigError: if an epoch would have too many rows.
    """
    splits, notes = _without_heldout_of_others(config, splits)
    train = {
        name: splits[name].train.with_order(splits[name].train.order[numbers])
        for name, numbers in _numbers(config, splits).items()
    }
    mixed = MixedDataset(train)
    heldout = MixedDataset.in_turn({name: one.heldout for name, one in splits.items()})
    return DatasetSplits(
        train=mixed,
        heldout=heldout,
        counts=count(
            mixed,
            heldout,
            rows=sum(one.counts.rows for one in splits.values()),
            skipped=sum(one.counts.skipped for one in splits.values()),
        ),
        fingerprint=joint_fingerprint_of({name: one.fingerprint for name, one in splits.items()}),
        notes=_notes(splits) | notes,
        chat=_chat(train, splits),
        parts=_counts(config, train, splits),
    )


def _without_heldout_of_others(
    config: DataConfig, splits: Mapping[str, DatasetSplits]
) -> tuple[dict[str, DatasetSplits], dict[str, str]]:
    """Return the parts without training rows that another part of the same source holds out.

    Returns:
        the parts by name, and the remarks about rows that were left out.

    Raises:
        DataError: if a part has no training row left.
    """
    settings = parts_of(config)
    result, said = dict(splits), []
    for name, one in splits.items():
        others = [
            splits[other].heldout
            for other in splits
            if other != name and _heldout_place(settings[other]) == _place(settings[name])
        ]
        held = {rows.source_row(number) for rows in others for number in range(len(rows))}
        if not held:
            continue
        rows = one.train
        kept = np.array([rows.source_row(number) not in held for number in range(len(rows))])
        if kept.all():
            continue
        if not kept.any():
            raise DataError(
                f"data.parts.{name}: other parts of the same source hold out all its rows. Give "
                "all of them the same heldout_rows."
            )
        result[name] = replace(one, train=rows.with_order(rows.order[kept]))
        said.append(f"{name}: {(~kept).sum():,} rows that another part of its source holds out")
    return result, {"not trained on": "; ".join(said)} if said else {}


def _place(part: DataConfig) -> tuple[object, ...]:
    """Return where the training rows of a part come from."""
    if part.path:
        return (str(known_path(part.path).resolve()),)
    return (part.source, part.subset, part.data_files, part.split, part.revision)


def _heldout_place(part: DataConfig) -> tuple[object, ...]:
    """Return where the held-out rows of a part come from."""
    if part.heldout_path:
        return _place(replace(part, path=part.heldout_path))
    return _place(replace(part, split=part.heldout_split or part.split))


def _numbers(config: DataConfig, splits: Mapping[str, DatasetSplits]) -> dict[str, Order]:
    """Return which rows of each part are trained on, some several times."""
    parts = {name: one.train for name, one in splits.items()}
    by_rows = config.mix_by is MixBy.rows
    available = {
        name: len(part) if by_rows else int(part.lengths.sum(dtype=np.int64))
        for name, part in parts.items()
    }
    wanted = wanted_amounts(config, available)
    numbers = {
        name: taken(part.lengths, wanted[name], config.mix_by) for name, part in parts.items()
    }
    total = sum(map(len, numbers.values()))
    if config.max_train_rows is None or config.max_train_rows >= total:
        return numbers
    # A part of each, in the same shares; all of them together are data.max_train_rows.
    ends = np.cumsum([0, *map(len, numbers.values())]) * config.max_train_rows // total
    return {
        name: numbers[name][:limit]
        for name, limit in zip(numbers, np.diff(ends).tolist(), strict=True)
    }


def wanted_amounts(config: DataConfig, available: Mapping[str, int]) -> dict[str, float]:
    """Return how many rows or tokens of each part an epoch has, as data.mix_by says.

    Args:
        available: the rows or tokens of each part.

    Raises:
        ConfigError: if an epoch would have too many of them.
    """
    found = amounts(available, weights_of(config), size=config.mix_size, total=config.mix_total)
    if config.mix_by is MixBy.rows:
        total = config.mix_total
        key = "data.mix_size=largest" if total is None else f"data.mix_total={total}"
        check_rows_seen(round(sum(found.values())), key=key)
    return found


def _counts(
    config: DataConfig,
    train: Mapping[str, TokenizedDataset],
    splits: Mapping[str, DatasetSplits],
) -> dict[str, PartCounts]:
    weights, settings = weights_of(config) or {}, parts_of(config)
    tokens = {name: int(part.lengths.sum(dtype=np.int64)) for name, part in train.items()}
    rows, all_tokens = sum(map(len, train.values())), sum(tokens.values())
    return {
        name: PartCounts(
            recipe=settings[name].recipe,
            weight=weights.get(name),
            available=len(splits[name].train),
            rows=len(part),
            tokens=tokens[name],
            label_tokens=int(part.label_counts.sum(dtype=np.int64)),
            share_of_rows=len(part) / rows,
            share_of_tokens=tokens[name] / all_tokens,
            heldout=len(splits[name].heldout),
            fingerprint=splits[name].fingerprint,
        )
        for name, part in train.items()
    }


def _notes(splits: Mapping[str, DatasetSplits]) -> dict[str, str]:
    """Return the remarks about all parts by their heading, each with the name of its part."""
    found: dict[str, list[str]] = {}
    for name, one in splits.items():
        for heading, line in one.notes.items():
            found.setdefault(heading, []).append(f"{name}: {line}")
    return {heading: "; ".join(said) for heading, said in found.items()}


def _chat(
    train: Mapping[str, TokenizedDataset], splits: Mapping[str, DatasetSplits]
) -> ChatData | None:
    """Return the chat template of the parts with conversations, and what is learned from them.

    All of them have the same template, because a tokenizer keeps one.
    """
    chats = [(one.chat, train[name]) for name, one in splits.items() if one.chat is not None]
    if not chats:
        return None
    first = chats[0][0]
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    rows = answers = trained = 0
    for chat, part in chats:
        assert isinstance(part, ChatDataset)
        counts.update(chat.summary.counts)
        by_kind = part.tokens_by_kind.sum(axis=0)
        kinds.update({label: int(by_kind[kind]) for kind, label in LABELS.items()})
        rows += len(part)
        answers += int(part.tokens.answer_counts(part.order).sum())
        trained += int(part.label_counts.sum())
    summary = replace(
        first.summary,
        rows=rows,
        answers=answers,
        tokens={label: kinds[label] for label in LABELS.values() if kinds[label]},
        trained_tokens=trained,
        max_tokens=max(chat.summary.max_tokens for chat, _ in chats),
        counts=dict(counts),
    )
    return replace(first, summary=summary)
