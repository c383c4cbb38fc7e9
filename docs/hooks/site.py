"""Hooks of the documentation site: root files as pages, and no page that loads from another host.

mkdocs imports this file; it is no part of the package. See mkdocs.yml.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

# Pages of the site that are files of the repository's root.
ROOT_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
# What a browser fetches while it shows a page. An <a> is only a link.
_LOADS = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
    "audio": "src", "embed": "src", "object": "data", "link": "href",
}  # fmt: skip
_NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}  # rel of a <link>
_CSS_URL = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the root files as pages, unless docs/ has a page of that name."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for page, name in ROOT_FILES.items():
        file = root / name
        if files.get_file_from_path(page) is None and file.is_file():
            text = as_page(file.read_text(encoding="utf-8"), root / "docs")
            files.append(File.generated(config, page, content=text))
    return files


def on_post_build(config: "MkDocsConfig") -> None:
    """Fail the build if a page or a style sheet loads something from another host."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    loads = [
        f"{path.relative_to(site)} loads {address}"
        for path in sorted(site.rglob("*"))
        if path.suffix in (".html", ".css")
        for address in foreign(path.read_text(encoding="utf-8"), css=path.suffix == ".css")
    ]
    if loads:
        raise PluginError("The site must work without a network.\n" + "\n".join(loads))


def as_page(text: str, docs: Path) -> str:
    """Return a root file with its links as they must be in docs/.

    `docs/gpu.md` becomes `gpu.md`. A file that is outside of docs/ has no page, so its link
    becomes plain text.
    """

    def moved(link: re.Match[str]) -> str:
        image, label, target = link.groups()
        path = target.partition("#")[0]
        if not path or "://" in target or target.startswith("mailto:"):
            return link[0]
        if path.startswith("docs/") and (docs.parent / path).exists():
            return f"{image}[{label}]({target.removeprefix('docs/')})"
        for page, name in ROOT_FILES.items():
            if path == name:
                return f"[{label}]({page})"
        return label

    return _LINK.sub(moved, text)


def foreign(text: str, *, css: bool = False) -> list[str]:
    """Return the addresses on other hosts that a browser loads for this page or style sheet."""
    if css:
        return _CSS_URL.findall(text)
    reader = _Loads()
    reader.feed(text)
    return reader.addresses


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self._style = tag == "style"
        values = dict(attrs)
        if tag == "link" and set((values.get("rel") or "").split()) & _NOT_LOADED:
            return
        address = values.get(_LOADS.get(tag, "")) or ""
        if re.match(r"(https?:)?//", address):
            self.addresses.append(address)
        self.addresses += _CSS_URL.findall(values.get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.addresses += _CSS_URL.findall(data)
