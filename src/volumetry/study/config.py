"""The configuration of a study: checked, and completed with its defaults.

What a key may hold stands in the schema, workflow/schemas/config.schema.yaml, which is made from
what the code declares; what keys ask of each other stands here. Nothing heavy is imported, since
every start of the workflow passes here.
"""

import copy
import math
import os
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import jsonschema
import yaml

from volumetry import datasets
from volumetry.datasets import Description
from volumetry.datasets.matrix_sensing import Options
from volumetry.errors import ConfigError, VolumetryError
from volumetry.networks.architecture import PRESETS, Network, parse_layers
from volumetry.networks.fit import BINARY, complete, fit, weights_of
from volumetry.networks.real import RealNetwork
from volumetry.study.grid import Run, grid
from volumetry.study.registry import METHODS, TRAINED
from volumetry.study.wording import did_you_mean, dotted, explain, known_keys, short

_LARGEST_N_VALIDATION = 200
_VALUE_BYTES = 8  # of an input while a dataset is being read
_LARGEST_NUMBER = 2**63 - 1  # what a result file can hold
_DEEPEST = 5  # levels; a configuration needs four


@dataclass(frozen=True)
class Study:
    """A checked configuration.

    Attributes:
        config: every key has its value: defaults filled in, layer lists in full, ``n_validation``
            a number; checking it again changes nothing.
        descriptions: for each dataset, its shapes and counts.
        networks: for each (dataset, architecture), the network they make.
    """

    config: dict
    descriptions: dict[str, Description | Options]
    networks: dict[tuple[str, str], Network | RealNetwork]

    @property
    def runs(self) -> list[Run]:
        """All sampler jobs."""
        return grid(self.config)

    def memory_mb(self, run: Run) -> int:
        """What a sampler job may take, MB."""
        about = self.descriptions[run.dataset]
        network = self.networks[run.dataset, run.architecture]
        # Every job reads the whole dataset.
        examples = about.n_examples
        parameters = self.config["samplers"][run.sampler]
        needed = METHODS[run.sampler].memory(network, run.n, about.n_test, parameters)
        needed += 3 * _VALUE_BYTES * examples * math.prod(network.input_shape)
        return math.ceil(needed / 1e8) * 100


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, where YAML readers silently keep the last."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise ConfigError(
                    f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice in one "
                    "mapping; remove one of the two"
                )
            seen.add(str(key.value))
        return node


def read(path: str | os.PathLike):
    """What a YAML file holds; no key may stand twice.

    Raises:
        ConfigError: the file is missing or no YAML.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except ConfigError as error:
        raise ConfigError(f"{path}, {error}") from None
    # PyYAML lets any exception through that a value causes, such as a date in month 13.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as YAML ({reason}): correct the file") from None


def load(path: str | os.PathLike, schema_path: str | os.PathLike) -> Study:
    """Read and ``resolve`` a configuration file.

    Raises:
        ConfigError: as ``read`` and ``resolve``.
    """
    return resolve(read(path), schema_path)


@cache
def _schema(path: str | os.PathLike) -> dict:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def resolve(config: dict, schema_path: str | os.PathLike) -> Study:
    """Check a configuration, fill in its defaults and derive what follows from it.

    Args:
        config: as read from YAML; not changed.
        schema_path: the JSON schema, YAML.

    Raises:
        ConfigError: what is wrong, one line for each error, each with the key's path, its value,
            the rule, and what to do.
        DataError, NetworkError: the same of a user's file or of an architecture.
    """
    schema = _schema(schema_path)
    config = _plain(config, ())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    said: dict[tuple, str] = {}
    for path, text in (line for error in errors for line in explain(error)):
        said.setdefault(path, text)  # of what is wrong with one value, the first will do
    if said:
        raise ConfigError("\n".join(f"{dotted(path)}{text}" for path, text in said.items()))
    config = _fill(config, schema)
    if config["data_dir"] is not None and not os.path.isdir(config["data_dir"]):
        raise ConfigError(
            f"data_dir = {short(config['data_dir'])}: no such folder; correct it, or remove the "
            "key to have the files downloaded"
        )
    if set("{}") & set(config["results_dir"]):
        raise ConfigError(
            f"results_dir = {short(config['results_dir'])}: Snakemake would take braces for a "
            "pattern; choose a name without"
        )
    for sampler, parameters in config["samplers"].items():
        _check_order(f"samplers.{sampler}", parameters, "min_blocks", "max_blocks")
    for name, architecture in config["architectures"].items():
        config["architectures"][name] = _architecture(name, architecture)
    descriptions = {
        name: _check_dataset(f"datasets.{name}", spec, config)
        for name, spec in config["datasets"].items()
    }
    _check_sizes_of_samplers(config)
    networks = {
        (dataset, architecture): _located(
            f"architectures.{architecture} on datasets.{dataset}",
            fit,
            config["architectures"][architecture],
            description.input_shape,
            description.n_outputs,
            description.input_bound,
        )
        for dataset, description in descriptions.items()
        for architecture in config["architectures"]
    }
    for (dataset, architecture), network in networks.items():
        path = f"architectures.{architecture} on datasets.{dataset}"
        for sampler, parameters in config["samplers"].items():
            system = descriptions[dataset].system
            _check_weights(config, architecture, sampler, system)
            _check_system(system, dataset, sampler)
            _located(path, METHODS[sampler].check, network, parameters)
            keys = schema["properties"]["samplers"]["properties"][sampler]["properties"]
            try:
                _check_size(network, parameters, keys)
            except ConfigError as error:
                raise ConfigError(f"samplers.{sampler}.{error} ({path})") from None
    return Study(config, descriptions, networks)


def _check_sizes_of_samplers(config: dict) -> None:
    """Refuse sizes of samplers that do not run, or that no dataset has."""
    known = sorted({n for spec in config["datasets"].values() for n in spec["n"]})
    for sampler, sizes in config["sizes"].items():
        if sampler not in config["samplers"]:
            raise ConfigError(
                f"sizes.{sampler}: the study has no such sampler; name one of "
                f"{', '.join(config['samplers'])}" + did_you_mean(sampler, config["samplers"])
            )
        if METHODS[sampler].kind == TRAINED:
            raise ConfigError(
                f"sizes.{sampler}: samplers that train share a job, which runs at every size; "
                "remove the key"
            )
        for n in sizes:
            if n not in known:
                raise ConfigError(
                    f"sizes.{sampler} = {n}: no dataset has this n; use some of "
                    f"{', '.join(map(str, known))}"
                )


def _check_size(network: Network, parameters: dict, keys: dict) -> None:
    """Refuse parameters that the network is too small for."""
    if "flips" in parameters:
        network.space.flips(parameters["flips"], keys["flips"]["default"])


def _check_order(path: str, parameters: dict, low: str, high: str) -> None:
    if low in parameters and parameters[low] > parameters[high]:
        raise ConfigError(
            f"{path}.{low} = {parameters[low]}: must not be above {high} = {parameters[high]}; "
            "lower the one or raise the other"
        )


def _check_weights(config: dict, architecture: str, sampler: str, system: str) -> None:
    """Refuse a sampler that cannot move the weights of an architecture."""
    weights = weights_of(config["architectures"][architecture])
    if weights != BINARY and not METHODS[sampler].real_weights:
        able = [
            name
            for name, method in METHODS.items()
            if method.real_weights and system in method.systems
        ]
        raise ConfigError(
            f"samplers.{sampler}: it knows binary weights alone, and architectures.{architecture} "
            f"has weights = {weights}; remove one of the two; real weights take {', '.join(able)}"
        )


def _check_system(system: str, dataset: str, sampler: str) -> None:
    """Refuse a sampler that does not know what a dataset is for."""
    if system not in METHODS[sampler].systems:
        able = [name for name, method in METHODS.items() if system in method.systems]
        raise ConfigError(
            f"samplers.{sampler}: it does not know {system}, which datasets.{dataset} is for; "
            f"remove one of the two; {system} takes {', '.join(able)}"
        )


def _check_sensing(path: str, spec: dict, description: Options, config: dict) -> None:
    """Check what a dataset of matrix sensing asks of its keys, and of architectures."""
    for key in ("n_validation", "label_noise"):
        if spec[key]:
            raise ConfigError(f"{path}.{key} = {spec[key]}: matrix_sensing has none; remove it")
    spec["n_validation"], spec["n"] = 0, sorted(spec["n"])
    _located(path, description.check_sizes, spec["n"])
    for name, architecture in config["architectures"].items():
        has = [key for key in ("biases", "normalise") if architecture.get(key)]
        if weights_of(architecture) == BINARY or has:
            raise ConfigError(
                f"architectures.{name}: it has {has[0] if has else 'binary weights'}, and {path} "
                "takes real weights without biases and normalise; set weights to gaussian or "
                "uniform, and remove the others"
            )


def _architecture(name: str, architecture: dict) -> dict:
    """An entry of ``architectures`` with its layers, and all keys of real weights."""
    if "layers" not in architecture:
        if name not in PRESETS:
            raise ConfigError(
                f"architectures.{name}: layers are missing and {name!r} is no preset; give layers, "
                f"or name the architecture {', '.join(PRESETS)}" + did_you_mean(name, PRESETS)
            )
        architecture = {"layers": name} | architecture
    layers = architecture["layers"]
    if isinstance(layers, str) or weights_of(architecture) == BINARY:
        layers = _located(f"architectures.{name}.layers", parse_layers, layers)
    return _located(f"architectures.{name}", complete, architecture | {"layers": list(layers)})


def _check_dataset(path: str, spec: dict, config: dict) -> Description | Options:
    """Check one dataset against its source, and settle its ``n`` and ``n_validation``."""
    description = _located(path, datasets.describe, spec, config["data_dir"])
    if isinstance(description, Options):
        _check_sensing(path, spec, description, config)
        return description
    n_classes, n_pool = description.n_classes, description.n_balanced
    if spec["n_validation"] is None:
        spec["n_validation"] = _round_down(min(_LARGEST_N_VALIDATION, n_pool // 5), n_classes)
    n_max = n_pool - spec["n_validation"]
    for key, values in {"n_validation": [spec["n_validation"]], "n": sorted(spec["n"])}.items():
        for value in values:
            if value % n_classes:
                lower = _round_down(value, n_classes)
                near = [k for k in (lower, lower + n_classes) if k > 0 or key == "n_validation"]
                raise ConfigError(
                    f"{path}.{key} = {value}: must be a multiple of the {n_classes} classes, "
                    f"because subsets are class-balanced; use {' or '.join(map(str, near))}"
                )
    if max(spec["n"]) > n_max:
        raise ConfigError(
            f"{path}.n = {max(spec['n'])}: the pool has {n_pool} class-balanced examples, of which "
            f"n_validation = {spec['n_validation']} are kept for validation; use n up to "
            f"{max(n_max, 0)}, or lower n_validation"
        )
    if not spec["n_validation"]:
        for sampler, parameters in config["samplers"].items():
            if parameters.get("selection") == "best_validation":
                raise ConfigError(
                    f'samplers.{sampler}.selection = "best_validation": {path} has n_validation = '
                    "0, so there is nothing to select by; use first_fit or final, or raise "
                    "n_validation"
                )
            if parameters.get("patience"):
                raise ConfigError(
                    f"samplers.{sampler}.patience = {parameters['patience']}: {path} has "
                    "n_validation = 0, so no validation accuracy can improve; use 0, or raise "
                    "n_validation"
                )
    spec["n"] = sorted(spec["n"])
    return description


def _round_down(value: int, step: int) -> int:
    return value // step * step


def _located(path: str, function, *arguments):
    """Call a function and say, in the error of a user, which key it was about."""
    try:
        return function(*arguments)
    except VolumetryError as error:
        raise type(error)(f"{path}: {error}") from None


def _plain(value, path: tuple):
    """A copy in plain dicts and lists, with text keys, printable text and numbers in bounds."""
    if len(path) > _DEEPEST:
        raise ConfigError(f"{dotted(path)}: no key is nested so deeply; remove it")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(
                    f"{dotted((*path, key))}: the key {key!r} is read as {type(key).__name__}; "
                    f"put it in quotes"
                )
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(
            f"{dotted(path)} = {short(value)}: must have printable characters only; correct it"
        )
    if isinstance(value, int | float) and not abs(value) <= _LARGEST_NUMBER:
        # Python refuses to write out integers of thousands of digits.
        huge = isinstance(value, int) and value.bit_length() > 128
        raise ConfigError(
            f"{dotted(path)} = {'a huge number' if huge else value}: must be a finite number "
            f"within {_LARGEST_NUMBER}; give one"
        )
    return value


def _fill(value, schema: dict):
    """A copy with every default, in the order of the schema, and numbers of the declared type."""
    if isinstance(value, dict):
        keys = known_keys(schema, value)
        filled = {
            key: _fill(value[key], part) if key in value else copy.deepcopy(part["default"])
            for key, part in keys.items()
            if key in value or "default" in part
        }
        others = {key: item for key, item in value.items() if key not in keys}
        rest = partial(_fill, schema=schema.get("additionalProperties"))
        return filled | {key: rest(item) for key, item in others.items()}
    if isinstance(value, list):
        return [_fill(item, schema["items"]) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if "number" in schema.get("type", ()) else int(value)
    return value
