"""Read the settings of a mixture as one DataConfig for each part."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

from anima_exp.config import DataConfig, MixturePart, TrainOn
from anima_exp.config.mixture import SOURCES, part_key, parts_given
from anima_exp.data import formats
from anima_exp.errors import AnimaError

T = TypeVar("T")

_OF_A_PART = tuple(field.name for field in fields(MixturePart) if field.name != "weight")
_NAMED = re.compile(rf"(?:data=local )?\bdata\.(?=(?:{'|'.join(_OF_A_PART)})\b)")


def parts_of(config: DataConfig) -> dict[str, DataConfig]:
    """Return the settings of each part of a mixture, by name and in the order of the names.

    Raises:
        ConfigError: if there is no such recipe.
    """
    parts = {}
    for name, part in parts_given(config).items():
        with naming(name):
            parts[name] = _settings(config, name, part)
    return parts


def weights_of(config: DataConfig) -> dict[str, float] | None:
    """Return the weight of each part; None if they have none."""
    weights = {name: part.weight for name, part in parts_given(config).items()}
    known = {name: weight for name, weight in weights.items() if weight is not None}
    return known or None


def each(config: DataConfig, work: Callable[[DataConfig], T]) -> dict[str, T]:
    """Return the result of `work` for the settings of each part of a mixture, by name.

    An error of `work` names the part.
    """
    results = {}
    for name, part in parts_of(config).items():
        with naming(name):
            results[name] = work(part)
    return results


def has_conversations(config: DataConfig) -> bool:
    """Return whether the rows, or those of a part of a mixture, are conversations."""
    settings = parts_of(config).values() if config.parts else [config]
    return any(formats.holds_conversations(one.recipe) for one in settings)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let errors name the settings of a part: `data.parts.poems.path=...`, not `data.path=...`."""
    try:
        yield
    except AnimaError as error:
        message = str(error)
        named = _NAMED.sub(f"{part_key(name)}.", message)
        if part_key(name) not in named:
            named = f"{part_key(name)}: {named}"
        raise type(error)(named) from error


def _settings(config: DataConfig, name: str, part: MixturePart) -> DataConfig:
    own = {key: getattr(part, key) for key in _OF_A_PART}
    given = {key: value for key, value in own.items() if value is not None or key in SOURCES}
    made = replace(config, name=name, parts={}, max_train_rows=None, length_stats=None, **given)
    if formats.holds_conversations(made.recipe):
        # What `data` says about prompts and responses is for the other parts.
        made = replace(made, train_on_source=bool(part.train_on_source))
    else:
        # What `data` says about conversations is for the other parts.
        made = replace(made, template=None, train_on=part.train_on or TrainOn.assistant)
    return replace(made, prompt_template=formats.prompt_template_of(made.recipe))


def prompt_template_of(parts: Mapping[str, Any], recipe: str) -> str:
    """Return the prompt template of a model that is trained on these parts.

    It is `chat` if a part has conversations, and otherwise that of the first part with prompts.

    Args:
        recipe: that of parts without one.
    """
    names = [_recipe(parts[name]) or recipe for name in sorted(parts, key=str)]
    templates = [formats.prompt_template_of(one) for one in names]
    if formats.CHAT in templates or not names:
        return formats.CHAT
    asked = (one for name, one in zip(names, templates, strict=True) if not _is_text(name))
    return next(asked, templates[0])


def _recipe(part: Any) -> str | None:
    recipe = part.get("recipe") if isinstance(part, Mapping) else getattr(part, "recipe", None)
    return None if recipe is None else str(recipe)


def _is_text(recipe: str) -> bool:
    known = formats.WITH_RECIPE.get(recipe)
    return known is not None and known.documents
