"""What a run of a trained sampler holds of its networks, made up."""

import numpy as np

from volumetry.methods.result import SELECTIONS


def networks(first_fit, final, best_validation, after_fit=None):
    """Extra variables of a run: the test accuracies of each network at each selection, and
    {epochs after the first fit: those of each network}."""
    accuracies = dict(zip(SELECTIONS, (first_fit, final, best_validation)))
    after_fit = {0: first_fit} if after_fit is None else after_fit
    found = {f"test_accuracy_{s}": ("network", np.array(a)) for s, a in accuracies.items()}
    return found | {
        "fitted": ("network", np.isfinite(first_fit).astype(np.int8)),
        "epochs_after_fit": ("epochs_after_fit", np.array(list(after_fit))),
        "test_accuracy_after_fit": (
            ("network", "epochs_after_fit"),
            np.array(list(after_fit.values())).T,
        ),
    }
