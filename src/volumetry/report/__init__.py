"""A study, or a benchmark, as charts, sentences and one page that needs nothing but a browser.
Imports ``results`` and what is below, and computes nothing new but what a chart or a sentence
needs."""
