"""Draw every chart, in every format asked for."""

from pathlib import Path

from volumetry import netcdf
from volumetry.files import replacing
from volumetry.joblog import logged
from volumetry.report.charts import draw_chart, save

with logged(snakemake.log[0]):
    study = netcdf.read(snakemake.input[0])
    for path in map(Path, snakemake.output):
        with replacing(path) as temporary:
            save(draw_chart(path.stem, study), temporary)
