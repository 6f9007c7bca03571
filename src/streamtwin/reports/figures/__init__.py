"""What do the records look like? Figures as SVG text."""

from streamtwin.reports.figures.bubbles import bubbles_svg
from streamtwin.reports.figures.fit import FitPoint, fit_svg
from streamtwin.reports.figures.latency import latency_svg
from streamtwin.reports.figures.timelines import timelines_svg

__all__ = ["FitPoint", "bubbles_svg", "fit_svg", "latency_svg", "timelines_svg"]
