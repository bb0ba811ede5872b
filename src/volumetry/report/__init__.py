"""A study as charts, sentences and one page."""
