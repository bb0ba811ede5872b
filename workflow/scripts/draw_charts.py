"""Draw every chart."""

from pathlib import Path

from volumetry.report.charts import draw_chart, save
from volumetry.runtime import netcdf
from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    study = netcdf.read(snakemake.input[0])
    for svg, png in zip(snakemake.output.svg, snakemake.output.png, strict=True):
        with replacing(svg) as new_svg, replacing(png) as new_png:
            save(draw_chart(Path(svg).stem, study), new_svg, new_png)
