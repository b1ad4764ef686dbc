"""The `poster` painter: screen prints from pictograms and type."""

from workers.engines.paint.poster.painter import PosterPainter

__all__ = ["PosterPainter"]
