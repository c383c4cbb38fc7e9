"""How transformers renames the weights of a model's files, and makes stacks of experts of them.

Its documentation does not promise these functions. They are the same from transformers 5.17 to
5.24; tests/contracts/test_transformers_names.py checks them. Merging writes a model by the names
that its base has.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class Names:
    """The names of a model's weights in files, as `get_model_conversion_mapping` gives them."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Keep a model without weights, on the meta device."""
        self.model: Any = model

    def in_memory(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return the names in files of each weight, by its name in memory.

        A weight has several if transformers makes one of them, as of each expert's matrices.
        """
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self._renamed(name)[0], []).append(name)
        return found

    def is_made(self, name: str) -> bool:
        """Return whether a file's tensor is changed at loading, not only renamed."""
        return self._renamed(name)[1] is not None

    def together(self, name: str, tensors: "Mapping[str, Tensor]") -> "Tensor":
        """Return the weight `name` that is made of the tensors of files."""
        from transformers.core_model_loading import dot_natural_key

        making: Any = None
        for key in sorted(tensors, key=dot_natural_key):
            pattern = self._renamed(key)[1]
            if pattern is None:
                return tensors[key]
            making = making or deepcopy(self._makers[pattern])
            making.add_tensor(name, key, pattern, tensors[key])
        made = making.convert(name, model=self.model, config=self.model.config)[name]
        result: Tensor = made[0] if isinstance(made, list) else made
        return result

    def apart(self, name: str, weight: "Tensor") -> "dict[str, Tensor]":
        """Return the tensors that `save_pretrained` writes for the weight `name`."""
        from transformers.core_model_loading import revert_weight_conversion

        result: dict[str, Tensor] = revert_weight_conversion(self.model, {name: weight})
        return result

    def come_apart(self, name: str, files: Iterable[str], shape: tuple[int, ...]) -> bool:
        """Return whether `apart` gives back the tensors that `together` was given, by their names.

        Tried with a tensor without numbers.
        """
        import torch

        try:
            found = self.apart(name, torch.empty(shape, device="meta"))
        except (ValueError, RuntimeError, KeyError, IndexError):
            return False
        return set(found) == set(files)

    @cached_property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.model.state_dict()
        return state

    @cached_property
    def _transforms(self) -> tuple[list[Any], list[Any]]:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        every: list[Any] = get_model_conversion_mapping(self.model)
        return (
            [one for one in every if isinstance(one, WeightRenaming)],
            [one for one in every if isinstance(one, WeightConverter)],
        )

    @cached_property
    def _makers(self) -> dict[str, Any]:
        return {pattern: one for one in self._transforms[1] for pattern in one.source_patterns}

    def _renamed(self, name: str) -> tuple[str, str | None]:
        from transformers.core_model_loading import rename_source_key

        prefix = self.model.base_model_prefix
        new, pattern = rename_source_key(name, *self._transforms, prefix, self._state)
        if new not in self._state and name in self._state:
            new, pattern = rename_source_key(name, [], [], prefix, self._state)
        return new, pattern
