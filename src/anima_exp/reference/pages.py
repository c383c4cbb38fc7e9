"""List all generated pages by their names."""

import json
from pathlib import Path

from anima_exp.config import RunConfig
from anima_exp.config.json_schema import json_schema
from anima_exp.config.reference import reference_page
from anima_exp.reference.api import api_page
from anima_exp.reference.commands import commands_page
from anima_exp.reference.environment import environment_page
from anima_exp.reference.errors import errors_page
from anima_exp.reference.families import families_page
from anima_exp.reference.files import files_page
from anima_exp.reference.metrics import metrics_page


def reference() -> dict[str, str]:
    """Return the files of docs/reference: the name of each with its text."""
    schema = json.dumps(json_schema(RunConfig), indent=1, ensure_ascii=False)
    return {
        "api.md": api_page(),
        "commands.md": commands_page(),
        "environment.md": environment_page(),
        "errors.md": errors_page(),
        "families.md": families_page(),
        "files.md": files_page(),
        "metrics.md": metrics_page(),
        "settings.md": reference_page(),
        "settings.schema.json": schema + "\n",
    }


def gallery(cache: Path) -> str:
    """Return docs/gallery.md. It takes a minute, since it plans every cell of every sweep.

    Args:
        cache: an empty folder.
    """
    from anima_exp.reference.gallery import Gallery, gallery_page

    return gallery_page(Gallery(cache))
