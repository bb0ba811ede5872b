"""Save the configuration as it was run, every default filled in."""

from pathlib import Path

import yaml

from volumetry.joblog import logged

with logged(snakemake.log[0]):
    text = yaml.safe_dump(snakemake.params.config, sort_keys=False)
    Path(snakemake.output[0]).write_text(text, encoding="utf-8")
