"""Every error this package raises on purpose.

* AnimaError
  - ConfigError      a setting is unknown, missing, of the wrong type, or contradicts another
  - DataError        a source cannot be read, or a row is not what its recipe expects
  - ModelError       a base model or tokenizer cannot be loaded, or is not what a setting needs
  - RunError         a run folder belongs to other settings, is in use, or cannot be written
  - TrainingError    training cannot go on: no gradient, a loss that is not finite
  - Stopped          Ctrl-C or SIGTERM: a checkpoint was written and the same command goes on
"""


class AnimaError(Exception):
    """Base class: `except AnimaError` catches a user's mistake, never a bug."""

    exit_status = 1


class ConfigError(AnimaError):
    pass


class DataError(AnimaError):
    pass


class ModelError(AnimaError):
    pass


class RunError(AnimaError):
    pass


class TrainingError(AnimaError):
    pass


class Stopped(AnimaError):
    """The user or the scheduler asked the run to stop; nothing is lost."""

    def __init__(self, message: str, *, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status
