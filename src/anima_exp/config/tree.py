"""Read and change settings in nested dictionaries, as YAML gives them."""

from typing import Any

from anima_exp.errors import ConfigError


def set_twice(key: str, old: str) -> ConfigError:
    """Return the error of a setting that is given under today's name and a former one."""
    return ConfigError(f"{key}: its former name {old} sets it as well. Keep {key} only.")


def set_value(node: dict[Any, Any], old: str, key: str, value: Any, above: str = "") -> None:
    """Set `key` to a value that the tree had under the name `old`.

    Args:
        node: the tree, or a group in it, as plain dictionaries.
        key: the place in `node`, as `recommended.max_steps`.
        above: the key of `node` itself with a dot, for messages.

    Raises:
        ConfigError: if the tree has a value there, or one that is no group on the way.
    """
    *groups, last = key.split(".")
    key = f"{above}{key}"
    for name in groups:
        inner = node.get(name)
        if inner is None:
            inner = node[name] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{key}: {name} is {inner!r} here, which has no settings of its own. Set {key} in "
                "another file or on the command line."
            )
        node = inner
    if last in node and not (isinstance(node[last], dict) and isinstance(value, dict)):
        raise set_twice(key, old)
    if last in node:
        for name, inner in value.items():
            set_value(node[last], f"{old}.{name}", name, inner, f"{key}.")
    else:
        node[last] = value
