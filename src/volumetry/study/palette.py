"""The colours of samplers and charts.

They are those of Okabe & Ito (https://jfly.uni-koeln.de/color/), told apart with any colour vision.
"""

INK, GREY, BLUE, ORANGE = "#222222", "#767676", "#0072B2", "#E69F00"
VERMILION, GREEN, PINK = "#D55E00", "#009E73", "#CC79A7"
BROWN = "#7A5C2E"

ORDERED = ("#C98A1B", "#B0435A", "#2B1C5A")
"""From the smallest to the largest of a few sizes: darker and darker, told apart in grey, too."""
