"""MLflow: one run a training, found by its train_key. Only this room imports MLflow, and only when it is needed."""

from legalqa.tracking.run import Run, add_to_run, train_run

__all__ = ["Run", "add_to_run", "train_run"]
