"""The samplers there are, and all that the rest of the project has to know of each.

Nothing heavy is imported, and no sampler: a job pays only for the one it runs. To add one, write
its module under ``volumetry.methods`` and a record here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from volumetry.errors import ConfigError
from volumetry.methods import costs
from volumetry.networks.architecture import Network
from volumetry.networks.fit import BINARY, weights_of
from volumetry.study.palette import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PINK, VERMILION

TRAINED, GUESSED, SAMPLED, EXACT = "trained", "guessed", "sampled", "exact"
"""Kinds of samplers: by gradients, by uniform draws, by Markov chains, by listing all weights."""


@dataclass(frozen=True)
class Method:
    """One sampler.

    Attributes:
        name: in configurations, file names and results.
        module: its dotted name. It has ``run(problem, parameters, seed, *, threads=1,
            checkpoint=None)``, which returns an ``xarray.Dataset``, and a frozen dataclass of
            parameters.
        about: what it does, one sentence.
        kind: ``TRAINED``, ``GUESSED``, ``SAMPLED`` or ``EXACT``.
        label, colour, shape: how charts and tables show it.
        memory: bytes that a job takes beside its dataset, from (network, n, n_test, parameters).
        parameters: name of its dataclass of parameters.
        starts_from: samplers whose results ``run`` takes as ``sources``, {name: result}, where the
            study runs them. None for a trained one.
        devices: those it can compute on; with more than one, ``run`` takes ``device``.
        real_weights: whether it knows them, beside binary ones.
        systems: what it can measure, ``classification`` or ``sensing``.
        check: refuses a network that it cannot measure, from (network, parameters), with a
            ``NetworkError``.
    """

    name: str
    module: str
    about: str
    kind: str
    label: str
    colour: str
    shape: str
    memory: Callable[[Network, int, int, Mapping], int]
    parameters: str = "Parameters"
    starts_from: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    real_weights: bool = False
    systems: tuple[str, ...] = ("classification",)
    check: Callable[[Network, Mapping], None] = lambda network, parameters: None

    def __post_init__(self):
        if self.kind == TRAINED and self.starts_from:
            raise ValueError(f"{self.name}: trained samplers share a job, and start from no other")

    def devices_for(self, architecture: Mapping) -> tuple[str, ...]:
        """Those it can compute on for networks of an architecture: real weights move on the CPU."""
        moves_real = self.kind == SAMPLED and weights_of(architecture) != BINARY
        return ("cpu",) if moves_real else self.devices

    def load(self) -> tuple[type, Callable]:
        """Import it: its dataclass of parameters, and its ``run``."""
        module = import_module(self.module)
        return getattr(module, self.parameters), module.run


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="gd",
            module="volumetry.methods.training",
            parameters="GdParameters",
            about="Full-batch training.",
            kind=TRAINED,
            label="GD",
            colour=BLUE,
            shape="circle",
            memory=costs.training_bytes,
            devices=("cpu", "cuda"),
            real_weights=True,
        ),
        Method(
            name="sgd",
            module="volumetry.methods.training",
            parameters="SgdParameters",
            about="Mini-batch training.",
            kind=TRAINED,
            label="SGD",
            colour=ORANGE,
            shape="square",
            memory=costs.training_bytes,
            devices=("cpu", "cuda"),
            real_weights=True,
        ),
        Method(
            name="sam",
            module="volumetry.methods.training",
            parameters="SamParameters",
            about="Sharpness-aware mini-batch training.",
            kind=TRAINED,
            label="SAM",
            colour=PINK,
            shape="triangle-up",
            memory=costs.training_bytes,
            devices=("cpu", "cuda"),
            real_weights=True,
        ),
        Method(
            name="sensing_gd",
            module="volumetry.methods.sensing_gd",
            about="Gradient descent on the factors of a matrix, from a small initialisation.",
            kind=TRAINED,
            label="GD from small weights",
            colour=BLUE,
            shape="circle",
            memory=costs.kernel_bytes,
            real_weights=True,
            systems=("sensing",),
        ),
        Method(
            name="guess_and_check",
            module="volumetry.methods.guess_and_check",
            about="Uniform draws of all weights until some fit.",
            kind=GUESSED,
            label="Guess & Check",
            colour=GREEN,
            shape="diamond",
            memory=costs.kernel_bytes,
            real_weights=True,
            systems=("classification", "sensing"),
        ),
        Method(
            name="rewl",
            module="volumetry.methods.rewl",
            about="Replica-exchange Wang-Landau over the number of correct examples, or over a "
            "loss.",
            kind=SAMPLED,
            label="Random interpolator (REWL)",
            colour=INK,
            shape="cross",
            memory=costs.chain_bytes,
            devices=("cpu", "cuda"),
            real_weights=True,
            systems=("classification", "sensing"),
        ),
        Method(
            name="population_annealing",
            module="volumetry.methods.population_annealing",
            about="Populations cooled from uniform draws to fits, copied and dropped by weight.",
            kind=SAMPLED,
            label="Random interpolator (population annealing)",
            colour=BROWN,
            shape="triangle-down",
            memory=costs.population_bytes,
            devices=("cpu", "cuda"),
            real_weights=True,
            systems=("classification", "sensing"),
        ),
        Method(
            name="joint",
            module="volumetry.methods.joint",
            about="Density of states over A and the test accuracy, and how rare trained networks "
            "are, by populations that are also cooled towards test accuracy.",
            kind=SAMPLED,
            label="Random interpolator (joint)",
            colour=GREY,
            shape="triangle-right",
            memory=costs.tilted_population_bytes,
            starts_from=("gd", "sgd", "sam"),
            devices=("cpu", "cuda"),
            real_weights=True,
        ),
        Method(
            name="enumerate",
            module="volumetry.methods.enumeration",
            about="All 2^M weight settings, exact, for networks with few weights.",
            kind=EXACT,
            label="All weight settings (exact)",
            colour=VERMILION,
            shape="square",
            memory=costs.kernel_bytes,
            check=costs.check_enumerable,
        ),
    )
}
"""By name, in the order in which tables and legends show them."""


def find(name: str) -> Method:
    """The sampler of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown sampler {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def of_kind(kind: str, names) -> list[str]:
    """Those of ``names`` that are samplers of a kind, in the order given."""
    return [name for name in names if name in METHODS and METHODS[name].kind == kind]
