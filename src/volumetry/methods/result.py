"""The common part of what every sampler returns."""

import numpy as np
import xarray as xr

from volumetry.runtime.netcdf import described

SELECTIONS = ("first_fit", "final", "best_validation")
"""The fitting states of a network in training whose test accuracy may count: the first, the last,
and the best by validation accuracy."""

COMMON = {
    "test_accuracy": ("test accuracy at A = n", "1"),
    "test_accuracy_stderr": ("standard error of the test accuracy", "1"),
    "test_accuracy_df": ("degrees of freedom of test_accuracy_stderr", "1"),
    "log_volume": ("log-volume ln Pr[A = n]", "nat"),
    "log_volume_stderr": ("standard error of the log-volume", "nat"),
    "log_volume_df": ("degrees of freedom of log_volume_stderr", "1"),
    "log_volume_upper": ("upper end of the 95 % interval of a censored log-volume", "nat"),
    "converged": ("whether the run met its convergence criteria", "flag"),
    "moves": ("Markov chain moves made", "count"),
    "guesses": ("independent uniform draws made", "count"),
    "epochs": ("passes over the training set, summed over networks", "count"),
}
"""What every sampler reports: long_name and units."""

OF_LOSS = {
    "test_loss": ("mean generalisation loss where the training loss is below epsilon", "1"),
    "test_loss_stderr": ("standard error of the generalisation loss", "1"),
    "test_loss_df": ("degrees of freedom of test_loss_stderr", "1"),
}
"""What those report, too, whose system has a loss instead of an accuracy."""


def scored(name: str, mean: float, stderr: float, df: float) -> dict[str, float]:
    """A mean test score for ``common_result``, ``test_accuracy`` or ``test_loss``."""
    return {name: mean, f"{name}_stderr": stderr, f"{name}_df": df}


def common_result(
    *,
    test_accuracy: float = np.nan,
    test_accuracy_stderr: float = np.nan,
    test_accuracy_df: float = np.inf,
    log_volume: float = np.nan,
    log_volume_stderr: float = np.nan,
    log_volume_df: float = np.inf,
    log_volume_upper: float = np.nan,
    test_loss: float | None = None,
    test_loss_stderr: float = np.nan,
    test_loss_df: float = np.inf,
    converged: bool,
    verdict: str,
    moves: int = 0,
    guesses: int = 0,
    epochs: int = 0,
) -> xr.Dataset:
    """The scalars every sampler reports; a sampler adds its own variables to them.

    Args:
        test_accuracy, test_accuracy_stderr: fractions; NaN where no fit was found.
        log_volume, log_volume_stderr: nats; NaN for a sampler that measures no volume.
        test_accuracy_df, log_volume_df: degrees of freedom of these errors, which their intervals
            take Student's t from: the independent parts that an error was estimated from, less one;
            infinite for one that is known by theory.
        log_volume_upper: nats; upper end of the two-sided interval, finite only for a censored
            measurement (no hit).
        test_loss, test_loss_stderr, test_loss_df: of systems that have a loss instead of an
            accuracy.
        converged: whether the documented criteria of the sampler were met.
        verdict: one sentence: why it counts as converged, or why not.
        moves, guesses, epochs: cost, counts.

    Returns:
        Dataset of float64 and int64 scalars with CF attributes, ``converged`` as int8, and the
        verdict as attribute ``verdict``.
    """
    values = {
        "test_accuracy": np.float64(test_accuracy),
        "test_accuracy_stderr": np.float64(test_accuracy_stderr),
        "test_accuracy_df": np.float64(test_accuracy_df),
        "log_volume": np.float64(log_volume),
        "log_volume_stderr": np.float64(log_volume_stderr),
        "log_volume_df": np.float64(log_volume_df),
        "log_volume_upper": np.float64(log_volume_upper),
        "converged": np.int8(converged),
        "moves": np.int64(moves),
        "guesses": np.int64(guesses),
        "epochs": np.int64(epochs),
    }
    if test_loss is not None:
        values |= scored("test_loss", *map(np.float64, (test_loss, test_loss_stderr, test_loss_df)))
    about = COMMON | OF_LOSS
    variables = {name: described((), value, *about[name]) for name, value in values.items()}
    return xr.Dataset(variables, attrs={"verdict": verdict})
