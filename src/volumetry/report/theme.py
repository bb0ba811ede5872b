"""How charts look: colours, fonts, axes.

The colours are those of Okabe & Ito (https://jfly.uni-koeln.de/color/), told apart with any colour
vision; shapes repeat what colours say.
"""

import altair as alt

INK, GREY, BLUE, ORANGE = "#222222", "#767676", "#0072B2", "#E69F00"
VERMILION, GREEN, PINK = "#D55E00", "#009E73", "#CC79A7"


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
