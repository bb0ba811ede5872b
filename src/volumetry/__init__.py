"""Volumetry: how much of weight space fits the data, and how good its typical member is.

Its rooms, from the ground up; each imports only from those before it: ``errors`` and
``parameters``, ``runtime``, ``kernels``, ``weights``, ``networks``, ``datasets``, ``engines``,
``systems``, ``estimate``, ``chains``, ``methods``, ``study``, ``results``, ``benchmark``,
``report``, ``monitor``. This file imports nothing, so that a job pays only for what it uses.
"""

__version__ = "0.1.0"
