"""Look at a data set before training on it: lengths, what is cut off, faults, rows as trained.

anima-exp data data=local data.path=FILE data.recipe=alpaca model=llama7b
"""

from dataclasses import replace

from anima_exp.cli.compose import run_command
from anima_exp.config import BadRow, RunConfig
from anima_exp.system import paths
from anima_exp.system.terminal import console


def report(config: RunConfig) -> None:
    """Print the report on a data set. Nothing is trained."""
    import numpy as np

    from anima_exp.data import formats, source
    from anima_exp.data.dataset import split_dataset
    from anima_exp.data.encode import limits, special_ids
    from anima_exp.data.parts import each
    from anima_exp.data.quality import count_issues, count_leaked
    from anima_exp.data.report import DatasetSummary, show
    from anima_exp.data.rows import ExampleDataset
    from anima_exp.data.tokenize import tokenize
    from anima_exp.errors import DataError
    from anima_exp.model.tokenizer import load_tokenizer

    if config.data.parts:
        each(config.data, lambda part: report(replace(config, data=part)))
        return
    formats.for_answers(config.data.prompt_template, key="data.prompt_template")
    # The report counts bad rows, so reading must not stop at the first one.
    data = replace(config.data, on_bad_row=BadRow.skip)
    main = source.training_source(data)
    tokenizer = load_tokenizer(config.model)
    cache = paths.cache(config.cache_dir)
    tokens = tokenize(main, data, tokenizer, cache=cache)
    heldout, overlap, split_error = 0, 0, None
    try:
        train, held, _ = split_dataset(
            data, tokenizer, tokens, source.validation_source(data), cache=cache
        )
        heldout, overlap = len(held), count_leaked(train, held)
    except DataError as error:
        split_error = str(error)
    before_prompt = len(special_ids(tokenizer)[0])
    rows = ExampleDataset(tokens, np.arange(len(tokens)), limits(data))
    result = DatasetSummary(
        source=main,
        recipe=data.recipe,
        tokenizer_name=config.model.tokenizer or config.model.source,
        rows=rows,
        meta=tokens.meta,
        issues=count_issues(rows, before_prompt=before_prompt),
        heldout=heldout,
        leaked=overlap,
        split_error=split_error,
    )
    show(result, tokenizer, console())


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(report, config_name="data")


if __name__ == "__main__":
    main()
