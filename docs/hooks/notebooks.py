"""Show the executed notebooks of docs/ as pages, with the outputs that are stored in them.

`docs/notebooks/NAME.ipynb` becomes the page `notebooks/NAME.md` (so mkdocs.yml names it in nav).
The notebook itself stays in the site as a download. Nothing is executed here: a notebook without
outputs fails the build.
"""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add a page for each notebook, and the images among its outputs."""
    from mkdocs.exceptions import PluginError
    from mkdocs.structure.files import File

    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        source = PurePosixPath(notebook.src_uri)
        try:
            text, images = page(notebook.content_string, source.stem)
        except ValueError as error:
            raise PluginError(f"docs/{source}: {error}") from error
        files.append(File.generated(config, str(source.with_suffix(".md")), content=text))
        for name, content in images.items():
            files.append(File.generated(config, str(source.parent / name), content=content))
    return files


def page(notebook: str, name: str) -> tuple[str, dict[str, bytes]]:
    """Return the page in Markdown, and its images by their path next to the page.

    Args:
        notebook: the text of a notebook file.
        name: the file's name without `.ipynb`.

    Raises:
        ValueError: a code cell was not executed, or it ended with an error.
    """
    import nbformat
    from nbconvert import MarkdownExporter

    node = nbformat.reads(notebook, as_version=4)
    node.metadata = {"language_info": {"name": "python"}}
    for number, cell in enumerate(node.cells, start=1):
        if cell.cell_type == "code" and cell.source:
            if cell.execution_count is None:
                raise ValueError(f"cell {number} was not executed. Execute the notebook, save it.")
            if any(output.output_type == "error" for output in cell.outputs):
                raise ValueError(f"cell {number} ended with an error. Repair and execute it.")
    resources = {"output_files_dir": f"{name}_files"}
    text, resources = MarkdownExporter().from_notebook_node(node, resources)
    heading, _, rest = text.strip().partition("\n")
    download = f"[Download this notebook]({name}.ipynb). Its outputs are stored in it."
    return f"{heading}\n\n{download}\n{rest}\n", resources["outputs"]
