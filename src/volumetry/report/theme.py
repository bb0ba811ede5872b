"""How charts look: colours, fonts, axes."""

import altair as alt

from volumetry.study.palette import INK

THEME = alt.Config(
    font="Liberation Sans, Arial, Helvetica, sans-serif",
    view=alt.ViewConfig(stroke=None),
    axis=alt.AxisConfig(
        labelFontSize=13,
        titleFontSize=14,
        titleFontWeight="normal",
        labelColor=INK,
        titleColor=INK,
        domainColor=INK,
        tickColor=INK,
        gridColor="#e4e4e4",
        titlePadding=8,
        labelSeparation=4,
        labelFlush=False,
    ),
    legend=alt.LegendConfig(
        orient="top",
        labelFontSize=14,
        labelLimit=0,
        symbolSize=110,
        symbolOpacity=1,
        labelColor=INK,
    ),
    title=alt.TitleConfig(fontSize=15, anchor="start", color=INK, offset=8),
)
"""The fonts, axes and legend of all charts."""
