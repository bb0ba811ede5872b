"""Save the configuration as it was run, every default filled in."""

import yaml

from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    text = yaml.safe_dump(snakemake.params.config, sort_keys=False)
    with replacing(snakemake.output[0]) as path:
        path.write_text(text, encoding="utf-8")
