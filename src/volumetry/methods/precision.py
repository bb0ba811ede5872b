"""The precision that a user asks of a volume sampler: the same parameters for each of them."""

from volumetry.parameters import parameter

_ENOUGH_NATS = 0.05


def wanted_ln_v_error():
    """The parameter ``ln_v_error``."""
    return parameter(
        0.01,
        above=0,
        unit="fraction",
        stops=True,
        about="Wanted standard error of ln V, as a fraction of its size; 0.05 nats suffice in any "
        "case.",
    )


def wanted_accuracy_error():
    """The parameter ``accuracy_error``."""
    return parameter(
        0.01,
        above=0,
        unit="fraction",
        stops=True,
        about="Wanted standard error of the interpolators' test accuracy.",
    )


def nats_wanted(ln_v_error: float, log_volume: float) -> float:
    """The standard error of a log-volume that ``ln_v_error`` asks for, nats."""
    return max(ln_v_error * abs(log_volume), _ENOUGH_NATS)
