"""From the files of many runs to one dataset with error bars: what is gathered, the formulas of the
intervals, the checks of one sampler by another. Imports ``study`` and what is below, and no
sampler."""
