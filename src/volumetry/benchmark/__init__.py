"""How fast is it? Measured beside what one would write first, and beside what the hardware allows.

``run.run(design, threads)`` measures everything in one process, alone on the machine; the page is
``report.benchmark``. Nothing of a study depends on this package.
"""
