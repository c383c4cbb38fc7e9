"""Look at a data set before training on it: lengths, what is cut off, faults, rows as trained.

anima-exp data data=local data.path=FILE data.recipe=alpaca model=llama7b
anima-exp data data=local data.path=FILE data.recipe=auto model=qwen3_8b html=data.html
"""

from dataclasses import replace
from pathlib import Path

from anima_exp.cli.compose import run_command
from anima_exp.config import DataConfig, InspectDataConfig, ModelConfig
from anima_exp.system import paths
from anima_exp.system.terminal import console, note


def report(config: InspectDataConfig) -> None:
    """Print the report on a data set, and write its page. Nothing is trained."""
    from anima_exp.data import formats
    from anima_exp.data.parts import each
    from anima_exp.data.report.build import build
    from anima_exp.data.report.console import show
    from anima_exp.model.tokenizer import load_tokenizer

    if config.data.parts:
        each(config.data, lambda part: report(_of_part(config, part)))
        return
    formats.for_answers(config.data.prompt_template, key="data.prompt_template")
    result = build(
        config.data,
        load_tokenizer(config.model),
        tokenizer_name=config.model.tokenizer or config.model.source,
        stops=_stops(config.model),
        cache=paths.cache(config.cache_dir),
        show_rows=config.show_rows,
        show_row=config.show_row,
    )
    show(result, console())
    if config.html:
        from anima_exp.data.report.page import write_page

        write_page(Path(config.html), result)
        note(f"Page: {config.html}")


def _of_part(config: InspectDataConfig, part: DataConfig) -> InspectDataConfig:
    """Return the settings of the report on one part of a mixture, whose page has its name."""
    html = config.html
    if html:
        page = Path(html)
        html = str(page.with_name(f"{page.stem}-{part.name}{page.suffix}"))
    return replace(config, data=part, html=html)


def _stops(model: ModelConfig) -> list[int]:
    """Return the ids at which the base's generation stops; none if its files are not here."""
    from anima_exp.errors import ModelError
    from anima_exp.model.base_config import generation_stops

    try:
        return generation_stops(model)
    except ModelError:
        if model.tokenizer is None:
            raise
        return []  # a tokenizer of its own is enough for this report


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(report, schema=InspectDataConfig, config_name="data")


if __name__ == "__main__":
    main()
