"""Volumetry: how much of weight space fits the data, and how good its typical member is.

The modules follow the flow of a study: ``datasets`` -> ``networks`` -> ``samplers`` ->
``results`` -> ``report``; imports run only downward. This file imports nothing, so that a job pays
only for what it uses.
"""

__version__ = "0.1.0"
