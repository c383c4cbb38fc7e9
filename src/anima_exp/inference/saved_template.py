"""Read the chat template that is saved with an adapter or a model, and the token that ends answers.

The vocabulary is always that of the base's tokenizer.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import DataConfig, UseConfig
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.errors import ModelError, first_line
from anima_exp.events import warn
from anima_exp.model import adapter_files
from anima_exp.system import json_files
from anima_exp.system.paths import known_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = str | dict[str, str]  # one template, or one for each name: default, tool_use

_SETTINGS = "tokenizer_config.json"
_FILES = {"default": "chat_template.jinja", "tool_use": "additional_chat_templates/tool_use.jinja"}


def with_saved_template(config: UseConfig) -> DataConfig:
    """Return the settings of the data, with the run's own copy of a template that has gone."""
    data = config.data
    if not (config.run and data.template and data.template.endswith(".jinja")):
        return data
    if known_path(data.template).is_file():
        return data
    for part in ("adapter", "model"):
        copy = Path(config.run) / part / _FILES["default"]
        if copy.is_file():
            return replace(data, template=str(copy))
    return data


def has_template(place: str, *, key: str = "adapter") -> bool:
    """Return whether a chat template is saved in `place`, a folder or hub id that `key` names.

    Raises:
        ModelError: if there is no such place.
    """
    try:
        return bool(_read(place, key)[0])
    except (OSError, ValueError):  # it is reported when the tokenizer is used
        return False


def use_template_of(
    tokenizer: "PreTrainedTokenizerBase", place: str, *, key: str = "adapter"
) -> bool:
    """Give a tokenizer the chat template and the EOS token that are saved in `place`.

    Args:
        place: a folder or hub id, which the setting `key` names.

    Returns:
        whether a template is saved there.

    Raises:
        ModelError: if there is no such place, or its files cannot be read.
    """
    try:
        template, end = _read(place, key)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{key}={place}: the files of its tokenizer cannot be read: {first_line(error)}"
        ) from error
    if not template:
        return False
    tokenizer.chat_template = template
    if end and end not in tokenizer.get_vocab():
        warn(
            f"{key}={place} ends its answers with {end}, which is no token of "
            f"{tokenizer.name_or_path}, so they may not end."
        )
    elif end:
        tokenizer.eos_token = end
    return True


def _read(place: str, key: str) -> tuple[Template | None, str | None]:
    """Return the saved template and the text of EOS."""
    file = adapter_files.optional_file(place, _SETTINGS, key=key)
    if file is None:
        return None, None
    settings = json_files.read_table(file)
    templates = _by_name(settings.get("chat_template"))
    for name, path in _FILES.items():
        if found := adapter_files.optional_file(place, path, key=key):
            templates[name] = found.read_text(encoding="utf-8")
    only = templates["default"] if templates.keys() == {"default"} else None
    end = settings.get("eos_token")
    return only or templates or None, end.get("content") if isinstance(end, dict) else end


def _by_name(value: Any) -> dict[str, str]:
    """Return the templates of a tokenizer_config.json: one text, or a list of them with names."""
    if isinstance(value, str):
        return {"default": value}
    entries = value if isinstance(value, list) else []
    return {str(one["name"]): str(one["template"]) for one in entries if isinstance(one, dict)}


def warn_of_other_template(adapter: str, template: ChatTemplate) -> None:
    """Warn if `model.adapter` was trained in another chat template than it is trained in now.

    Raises:
        ModelError: if there is no such adapter.
    """
    try:
        saved, _ = _read(adapter, "model.adapter")
    except (OSError, ValueError):  # the adapter's own files are checked when it is loaded
        return
    source = saved.get("default") if isinstance(saved, dict) else saved
    if source and not source.endswith(template.source):  # before it may stand its EOS token
        warn(
            f"model.adapter={adapter} was trained in another chat template than {template}. To "
            f"keep its own, add data.template={adapter.rstrip('/')}/{_FILES['default']}."
        )
