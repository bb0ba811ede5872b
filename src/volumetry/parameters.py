"""How a key of a configuration is declared: once, with its default, bounds, unit and meaning.

The fields of a dataclass declare the keys of a mapping; each is made by ``parameter``. From them
``volumetry.study.schema`` makes the schema of configurations and the tables that document them, and
the code takes its defaults. A field's type may be ``bool``, ``int``, ``float``, ``str``, ``list``
or ``dict`` of these or of such dataclasses, or several of them (``int | None``).
"""

from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from volumetry.errors import ConfigError

Options = TypeVar("Options")


def parameter(
    default: Any = MISSING,
    *,
    about: str,
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    least: int | None = None,
    choices: tuple[str, ...] | None = None,
    odd: bool = False,
    unique: bool = False,
    entry: Any = None,
    otherwise: str = "",
    stops: bool = False,
) -> Any:
    """A field that is a key of a configuration.

    Args:
        default: the key is required if there is none, and nothing stands in ``otherwise``.
        about: what it means, sentences.
        unit: of the value; none for a pure number.
        minimum, above, maximum, below: bounds of a number, the second and the last excluded.
        least: fewest characters of a text, or entries of a list.
        choices: the values that there are.
        odd: whether the number must be odd.
        unique: whether no entry of a list may stand twice.
        entry: ``parameter`` of the entries of a list, or of a mapping that has no class for them.
        otherwise: what an optional key means that is left out; it has no default then.
        stops: whether it only decides when to stop: a run that asks for more goes on from the
            checkpoint of one that asked for less.
    """
    given = dict(locals())
    del given["default"]
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=given)
    return field(default=default, metadata=given)


def default_of(declared: Field) -> Any:
    """The default of a field, ``MISSING`` if there is none."""
    made = declared.default_factory
    return declared.default if made is MISSING else made()


def stopping(options: type) -> set[str]:
    """The parameters of a dataclass that only decide when to stop."""
    return {declared.name for declared in fields(options) if declared.metadata["stops"]}


def chosen(options: type[Options], spec: dict) -> Options:
    """Those keys of a mapping that a dataclass declares, as that dataclass."""
    names = {declared.name for declared in fields(options)}
    return options(**{name: value for name, value in spec.items() if name in names})


def adapted(name: str, value: int, default: int | None, most: int, rule: str) -> int:
    """A value that what it is for may be too small for: the default adapts, others are refused.

    Args:
        name: of the key.
        default: its default; None if it has none.
        most: the largest value that can be.
        rule: why no more can be, after "must be".

    Returns:
        ``value``, or ``most`` where the default is more.

    Raises:
        ConfigError: more than ``most``, and not the default.
    """
    if value > most and value != default:
        repair = f"use {most}" if most == 1 else f"use {most} or less"
        if default is not None:
            repair += f", or remove the key: its default, {default}, adapts"
        raise ConfigError(f"{name} = {value}: must be {rule}; {repair}")
    return min(value, most)


def check_choices(options: Any) -> None:
    """Refuse values that are not among the choices of their field.

    Raises:
        ConfigError: there is such a value.
    """
    for declared in fields(options):
        name, choices = declared.name, declared.metadata["choices"]
        if choices and getattr(options, name) not in choices:
            raise ConfigError(
                f"{name} {getattr(options, name)!r} is not known: choose one of "
                f"{', '.join(choices)}"
            )
