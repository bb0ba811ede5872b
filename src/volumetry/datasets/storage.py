"""Datasets and subsets as NetCDF content: the files between the jobs of a study."""

import json

import numpy as np
import xarray as xr

from volumetry.datasets.dataset import Dataset
from volumetry.datasets.matrix_sensing import Options, measure
from volumetry.datasets.subsets import Subset, draw_subset
from volumetry.parameters import chosen


def dataset_to_xarray(dataset: Dataset | Options, spec: dict) -> xr.Dataset:
    """A dataset with the options it was made with; of matrix sensing, these alone.

    Returns:
        ``x_pool`` (example_pool, channel, height, width) or (example_pool, feature), ``y_pool``,
        ``x_test``, ``y_test``; attributes ``n_classes``, ``input_bound`` and ``spec`` (JSON).
    """
    if isinstance(dataset, Options):
        title = "Volumetry dataset: a matrix to be sensed"
        return xr.Dataset(
            attrs={"title": title, "Conventions": "CF-1.11", "spec": json.dumps(spec)}
        )
    axes = ("channel", "height", "width") if dataset.x_pool.ndim == 4 else ("feature",)
    return xr.Dataset(
        {
            "x_pool": (("example_pool", *axes), dataset.x_pool, _about("inputs of the pool")),
            "y_pool": ("example_pool", dataset.y_pool, _about("labels of the pool")),
            "x_test": (("example_test", *axes), dataset.x_test, _about("inputs of the test set")),
            "y_test": ("example_test", dataset.y_test, _about("labels of the test set")),
        },
        attrs={
            "title": "Volumetry dataset: integer inputs, offset subtracted",
            "Conventions": "CF-1.11",
            "n_classes": np.int64(dataset.n_classes),
            "input_bound": np.int64(dataset.input_bound),
            "spec": json.dumps(spec),
        },
    )


def draw_subset_of(
    dataset: xr.Dataset, *, n_validation: int, label_noise: float, seed: int
) -> xr.Dataset:
    """Draw a replicate's ordering of the pool of ``dataset_to_xarray``; see ``draw_subset``.

    Returns:
        ``order`` and ``label`` (example), ``validation`` and ``validation_label`` (example_val); of
        matrix sensing, ``truth`` (row, column) and ``matrices`` (measurement, row, column).
    """
    if (options := sensed(dataset)) is not None:
        return _measurements(options, seed)
    subset: Subset = draw_subset(
        dataset["y_pool"].values,
        int(dataset.attrs["n_classes"]),
        n_validation=n_validation,
        label_noise=label_noise,
        seed=seed,
    )
    label = "label after label noise"
    return xr.Dataset(
        {
            "order": ("example", subset.order, _about("position in the pool; the first n are D_n")),
            "label": ("example", subset.label, _about(label)),
            "validation": ("example_val", subset.validation, _about("position in the pool")),
            "validation_label": ("example_val", subset.validation_label, _about(label)),
        },
        attrs={
            "title": "Volumetry training subsets, nested over n",
            "Conventions": "CF-1.11",
            "label_noise": float(label_noise),
            "seed": np.int64(seed),
        },
    )


def sensed(dataset: xr.Dataset) -> Options | None:
    """The options of a file of ``dataset_to_xarray`` of matrix sensing; None of any other."""
    spec = json.loads(dataset.attrs["spec"])
    return chosen(Options, spec) if spec["source"] == "matrix_sensing" else None


def _measurements(options: Options, seed: int) -> xr.Dataset:
    drawn = measure(options, seed)
    matrix = ("row", "column")
    return xr.Dataset(
        {
            "truth": (matrix, drawn.truth, _about("the matrix that is measured")),
            "matrices": (
                ("measurement", *matrix),
                drawn.matrices,
                _about("what it is measured with; the first n are the training set"),
            ),
        },
        attrs={
            "title": "Volumetry matrix and its measurements, nested over n",
            "Conventions": "CF-1.11",
            "label_noise": 0.0,
            "seed": np.int64(seed),
        },
    )


def _about(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
