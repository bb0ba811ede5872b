"""The study as a whole: its configuration, its grid of runs, the registry of samplers, and the job
that runs one of them. Imports ``methods`` by name, ``datasets`` and what is below."""
