"""Draw every figure in the sizes of a paper."""

from contextlib import ExitStack
from pathlib import Path

from volumetry.report.charts import draw_figure, save_for_paper
from volumetry.runtime import netcdf
from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    study = netcdf.read(snakemake.input[0])
    for paths in zip(*[iter(snakemake.output)] * 3):
        name, _, columns = Path(paths[0]).stem.rpartition("_")
        with ExitStack() as files:
            new = [files.enter_context(replacing(path)) for path in paths]
            save_for_paper(draw_figure(name, study), columns, *new)
