"""What a configuration may hold beside the parameters of samplers and the options of sources.

``volumetry.study.schema`` makes the schema and the tables of config/README.md from it.
"""

from dataclasses import dataclass

from volumetry.datasets import SOURCES
from volumetry.networks.fit import BINARY
from volumetry.networks.real import ACTIVATIONS, DEFAULTS
from volumetry.parameters import parameter
from volumetry.weights.real import PRIORS


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """An entry of ``datasets``; the options of its source come beside these keys."""

    source: str = parameter(choices=tuple(SOURCES), about="Where the examples come from.")
    n: list[int] = parameter(
        least=1,
        unique=True,
        entry=parameter(
            minimum=1, about="A training-set size, a multiple of the number of classes."
        ),
        unit="examples",
        about="Training-set sizes, multiples of the number of classes.",
    )
    classes: list[int] | None = parameter(
        None,
        least=2,
        unique=True,
        entry=parameter(minimum=0, about="A label."),
        about="Labels to keep, renumbered from 0 in this order; null keeps all.",
    )
    label_noise: float = parameter(
        0.0,
        minimum=0,
        maximum=1,
        unit="fraction",
        about="Fraction of the training labels redrawn uniformly from all classes.",
    )
    n_test: int | None = parameter(
        None,
        minimum=1,
        unit="examples",
        about="Test examples, chosen once at random; null takes all.",
    )
    n_validation: int | None = parameter(
        None,
        minimum=0,
        unit="examples",
        about="Pool examples kept for model selection, a multiple of the number of classes; null "
        "takes 200, or a fifth of the pool if that is less.",
    )


def _of_real(key: str) -> str:
    """What it means to leave out a key of real weights."""
    return f"`{str(DEFAULTS[key]).lower()}`, for real weights"


@dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """An entry of ``architectures``."""

    layers: list[str] | str = parameter(
        entry=parameter(about="One of 'conv C', 'conv C KxK', 'pool', 'linear K'."),
        otherwise="the preset of that name",
        about="List of 'conv C', 'pool', 'linear K', or the name of a preset; may be left out "
        "where the architecture has a preset's name. 'conv C' has kernels of 3x3 and keeps the "
        "size of images; real weights take 'conv C KxK', too, without zeros around images.",
    )
    weights: str = parameter(
        choices=(BINARY, *PRIORS),
        otherwise=f"`{BINARY}`",
        about="What weights are: -1 or +1, all alike, or real numbers with a normal or a uniform "
        "prior; the volume is then the probability under the prior.",
    )
    scale: str | float | list[float] = parameter(
        above=0,
        entry=parameter(above=0, about="Of a layer."),
        otherwise=_of_real("scale"),
        about="Standard deviation of a normal prior, or half the width of a uniform one: "
        "`fan_in` for 1 / sqrt(inputs of the layer), `fan_out` for 1 / sqrt(outputs), `kaiming` "
        "for a variance of 2 / inputs, a number for all layers, or a list with one for each, the "
        "last one included. For real weights only.",
    )
    biases: bool = parameter(
        otherwise=_of_real("biases"),
        about="Whether units have a bias, with the prior of their layer. For real weights only.",
    )
    activation: str = parameter(
        choices=ACTIVATIONS,
        otherwise=_of_real("activation"),
        about="What follows every layer but the last. For real weights only.",
    )
    normalise: list[float] | None = parameter(
        entry=parameter(about="The mean, then the standard deviation."),
        otherwise="inputs over their largest, for real weights",
        about="Mean m and standard deviation s of inputs, [m, s]: networks see (x - m) / s of what "
        "the dataset has (MNIST's pixels less 33, Fashion-MNIST's less 73). For real weights only.",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration; ``samplers`` has an entry for each sampler of the registry."""

    seed: int = parameter(
        0, minimum=0, about="Seed of the study; every job's seed is derived from it."
    )
    replicates: int = parameter(
        3,
        minimum=1,
        maximum=10_000,
        unit="replicates",
        about="Independent draws of the training subsets, each with its own chains.",
    )
    results_dir: str = parameter("results", least=1, about="Folder of everything the study writes.")
    data_dir: str | None = parameter(
        None,
        least=1,
        about="Folder in which mnist/ and fashion_mnist/ are looked up before they are downloaded.",
    )
    device: str = parameter(
        "auto",
        choices=("auto", "cpu", "cuda"),
        about="Where samplers compute. cuda is for rewl, population_annealing and joint, with the "
        "same result, and for gd, sgd and sam, with other rounding; auto takes a CUDA GPU for the "
        "first three, where there is one and at least 32 walkers for it. The other samplers use "
        "the CPU.",
    )
    checkpoint_seconds: float = parameter(
        60.0,
        minimum=0,
        unit="seconds",
        about="How often a sampler keeps what it has done, under results_dir/checkpoints; shorter "
        "runs keep nothing. The results do not depend on it.",
    )
    datasets: dict[str, DatasetEntry] = parameter(
        about="The datasets of the study, each under a name of your choice."
    )
    architectures: dict[str, ArchitectureEntry] = parameter(
        about="The networks of the study, each under a name of your choice."
    )
    samplers: dict = parameter(about="The samplers of the study and their parameters.")
    sizes: dict[str, list[int]] = parameter(
        {},
        entry=parameter(
            least=1,
            unique=True,
            entry=parameter(minimum=1, about="A training-set size of a dataset."),
            unit="examples",
            about="The training-set sizes at which the sampler of that name runs.",
        ),
        about="For samplers that are too slow for all sizes: those at which each of them runs. One "
        "that is not named runs at every size; those that train cannot be named.",
    )
