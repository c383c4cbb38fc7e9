"""Write the generated pages of the documentation.

python -m anima_exp.reference docs              # docs/reference/: seconds
python -m anima_exp.reference docs --gallery    # docs/gallery.md: what every sweep would cost
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from anima_exp.reference.pages import gallery, reference


def main(arguments: list[str]) -> None:
    """Write the generated pages into the folder that `arguments` names."""
    docs = Path(arguments[0])
    if "--gallery" in arguments:
        with TemporaryDirectory() as cache:
            (docs / "gallery.md").write_text(gallery(Path(cache)), encoding="utf-8")
        return
    for name, text in reference().items():
        file = docs / "reference" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
