"""A study watched while it runs: what is finished, what runs, how long it will take."""
