"""The colours of samplers and charts.

They are those of Okabe & Ito (https://jfly.uni-koeln.de/color/), told apart with any colour vision.
"""

INK, GREY, BLUE, ORANGE = "#222222", "#767676", "#0072B2", "#E69F00"
VERMILION, GREEN, PINK = "#D55E00", "#009E73", "#CC79A7"
BROWN = "#7A5C2E"

ORDERED = ("#B8860B", "#CC4C6E", "#6F57C4")
"""From the smallest to the largest of a few sizes: darker, and legible on white and on black."""
