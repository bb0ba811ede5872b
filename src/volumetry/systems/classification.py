"""What is measured: a network and the examples that define A and Q."""

from dataclasses import dataclass

import numpy as np

from volumetry.networks import Network


@dataclass(frozen=True)
class Problem:
    """A network and the examples that define A and Q.

    Attributes:
        network: the architecture.
        x_train, y_train: the n training examples; integers, shapes (n, *input_shape) and (n,).
        x_test, y_test: the N test examples, of the same form.
        x_validation, y_validation: training examples outside D_n, for model selection; may be
            empty.
    """

    network: Network
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
