"""Datasets: integer examples with labels 0..n_classes-1, split once into a pool and a test set, and
training subsets drawn from the pool (``subsets``). Imports ``networks``, ``weights`` and what is
below.

A *spec* is one entry of ``datasets`` in the configuration: ``source`` and the options of that
source. Each source is a module with ``describe(spec, data_dir)``, which is cheap and answers before
any job runs, and ``load(spec, data_dir)``; it is imported when it is used.
"""

from importlib import import_module

from volumetry.datasets.dataset import Arrays, Dataset, Description, select
from volumetry.datasets.matrix_sensing import Options
from volumetry.errors import ConfigError

SOURCES: dict[str, str] = {
    "digits": "volumetry.datasets.digits",
    "mnist": "volumetry.datasets.idx",
    "fashion_mnist": "volumetry.datasets.idx",
    "npz": "volumetry.datasets.npz",
    "teacher": "volumetry.datasets.teacher",
    "modular_addition": "volumetry.datasets.modular_addition",
    "matrix_sensing": "volumetry.datasets.matrix_sensing",
}
"""Name of a source -> module that reads or makes it."""

__all__ = ["SOURCES", "Arrays", "Dataset", "Description", "describe", "load"]


def describe(spec: dict, data_dir: str | None = None) -> Description | Options:
    """Shapes and counts of the dataset that ``spec`` names, after its ``classes`` are chosen.

    Of matrix sensing, which has no examples, its options.

    Raises:
        ConfigError: an unknown source, or ``classes`` or ``n_test`` that it cannot give.
        DataError: a user's file that is missing or not of the documented form.
    """
    return _source(spec).describe(spec, data_dir).choose(spec.get("classes"), spec.get("n_test"))


def load(spec: dict, data_dir: str | None = None) -> Dataset | Options:
    """Read or make the dataset that ``spec`` names; of matrix sensing, its options.

    Args:
        spec: ``source``, its options, and perhaps ``classes`` (labels to keep, renumbered in the
            order given) and ``n_test`` (test examples to keep, chosen once at random).
        data_dir: folder in which mnist/ and fashion_mnist/ are looked up first.

    Raises:
        ConfigError: as ``describe``.
        DataError: a file that is missing, damaged or not of the documented form.
    """
    loaded, wanted = _source(spec).load(spec, data_dir), (spec.get("classes"), spec.get("n_test"))
    return select(loaded, *wanted) if isinstance(loaded, Arrays) else loaded.choose(*wanted)


def _source(spec: dict):
    if spec["source"] not in SOURCES:
        raise ConfigError(f"source {spec['source']!r} is unknown: choose {', '.join(SOURCES)}")
    return import_module(SOURCES[spec["source"]])
