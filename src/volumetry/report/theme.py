"""How charts look: colours, fonts, axes."""

import altair as alt

from volumetry.study.palette import INK


def themed(chart: alt.ConcatChart) -> alt.ConcatChart:
    """Panels with the fonts, axes and legend of all charts."""
    return (
        chart.configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
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
        )
        .configure_legend(
            orient="top",
            labelFontSize=14,
            labelLimit=0,
            symbolSize=110,
            symbolOpacity=1,
            labelColor=INK,
        )
        .configure_title(fontSize=15, anchor="start", color=INK, offset=8)
    )
