"""A study watched while it runs, from the files in its folder alone: what is finished, what runs,
how long it will take. Imports ``report``, ``results`` and what is below; nothing imports it."""
