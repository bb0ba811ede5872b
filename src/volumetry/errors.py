"""The errors a user can cause and repair. Their message is all that is ever shown of them."""


class VolumetryError(Exception):
    """Base class: the message names the key or file, the value, the rule and the repair."""


class ConfigError(VolumetryError):
    """The configuration asks for something that cannot be."""


class DataError(VolumetryError):
    """A data file is missing, damaged or not of the documented form."""


class StorageError(VolumetryError):
    """A result cannot be written: no space, no permission, no folder."""


class NetworkError(VolumetryError):
    """A layer list does not fit its input, or its exact sums could overflow."""
