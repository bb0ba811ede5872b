"""How fast is it? Measured beside what one would write first, and beside what the hardware allows,
by ``run.run``, alone on the machine; the page is ``report.benchmark``. Imports ``study``,
``methods`` and what is below; nothing of a study depends on it."""
