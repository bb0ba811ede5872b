"""The samplers, a module each: problem, parameters and seed in, one dataset of a common schema out.
None imports another's module, so that a change of one concerns its own results alone. Imports
``chains``, ``estimate`` and what is below."""
