"""Train one adapter, or with -m a sweep of them.

anima-exp train                                      # the tiny world, on a CPU
anima-exp train model=guanaco33b data=belle_merge    # Anima's run
anima-exp train -m seed=0,1,2 lora.rank=8,64         # six runs, each once
"""

from anima_exp.cli.adapter_settings import with_adapter
from anima_exp.cli.compose import run_command
from anima_exp.config import RunConfig
from anima_exp.system.hardware import keep_freed_memory
from anima_exp.system.signals import stop_on_signals


def train(config: RunConfig) -> float | None:
    """Train the run, and return its held-out loss; with dry_run=true only check its settings."""
    if config.dry_run:
        from anima_exp.distributed.environment import rank_info
        from anima_exp.experiment.preflight import check_dry, check_inputs, check_world_size
        from anima_exp.sweeping import summary

        if (here := rank_info()).rank == 0:
            check_world_size(config, here)
            check_inputs(config)
            check_dry([config])
            summary.print_single_run(config)
        return None
    keep_freed_memory()
    from anima_exp.experiment.run import run  # the first import of torch

    with stop_on_signals() as stop:
        return run(config, stop=stop).scores.get("heldout_loss")  # for a sweeper to minimise


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(train, expand=with_adapter)


if __name__ == "__main__":
    main()
