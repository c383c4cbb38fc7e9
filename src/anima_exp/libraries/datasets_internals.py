"""The parts of datasets that we use although its documentation does not promise them.

They are the same in datasets 4.5 to 5.2; tests/contracts/test_datasets.py checks every one.
"""

import os
import re
from pathlib import Path
from typing import Any

from anima_exp.system.paths import known_path


def identity_of(builder: Any) -> tuple[str, ...]:
    """Return what a data set is: its name, configuration, version, and commit or hash of files.

    They are the last four parts of `DatasetBuilder.cache_dir`, by which the library itself knows
    what it has prepared. If they change, the names of runs on hub data change with them.
    """
    return Path(builder.cache_dir).parts[-4:]


def prepared_before(place: str) -> bool:
    """Return whether the data set `place` of the hub has been prepared on this machine before.

    The library keeps each in a folder named by its id. If the spelling changes, a run without a
    network is refused although its data is here.
    """
    from huggingface_hub import constants

    given = os.environ.get("HF_DATASETS_CACHE")
    folder = known_path(given) if given else Path(constants.HF_HOME) / "datasets"
    wanted = _plain(place.replace("/", "___"))
    try:
        return any(_plain(one.name) == wanted for one in folder.iterdir() if one.is_dir())
    except OSError:
        return False


def _plain(name: str) -> str:
    # `datasets` writes BelleGroup/train_1M as BelleGroup___train_1_m.
    owner, _, rest = name.partition("___")
    return f"{owner}/{re.sub('[_-]', '', rest)}".lower()
