"""Memory over time as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .environments import REPOSITORY

PLOT: Final = REPOSITORY / "docs" / "memory.svg"

_WIDTH: Final = 720
_HEIGHT: Final = 320
_LEFT: Final = 64
_TOP: Final = 40
_PLOT_WIDTH: Final = _WIDTH - _LEFT - 24
_PLOT_HEIGHT: Final = _HEIGHT - _TOP - 48
_STEPS: Final = 5


def save_plot(samples: Sequence[tuple[float, float]], title: str) -> None:
    """Draw seconds and megabytes into `docs/memory.svg`."""
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(_svg(samples, title), encoding="utf-8")


def _svg(samples: Sequence[tuple[float, float]], title: str) -> str:
    x_step = _round_step(max(seconds for seconds, _ in samples))
    y_step = _round_step(max(megabytes for _, megabytes in samples))
    points = " ".join(f"{_x(s / x_step):.1f},{_y(mb / y_step):.1f}" for s, mb in samples)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
        f' font-size="12" role="img" aria-label="{title}">'
    )
    parts = [
        opening,
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="22" font-size="14" fill="#222">{title}</text>',
    ]
    for step in range(_STEPS + 1):
        x, y = _x(step), _y(step)
        parts += [
            f'<line x1="{_LEFT}" x2="{_LEFT + _PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{step * y_step:g}</text>',
            f'<text x="{x:.1f}" y="{_HEIGHT - 28}" text-anchor="middle" fill="#555">{step * x_step:g}</text>',
        ]
    parts += [
        f'<text x="{_LEFT - 8}" y="{_TOP - 8}" text-anchor="end" fill="#555">MB</text>',
        f'<text x="{_LEFT + _PLOT_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle" fill="#555">seconds</text>',
        f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(steps: float) -> float:
    return _LEFT + steps / _STEPS * _PLOT_WIDTH


def _y(steps: float) -> float:
    return _TOP + _PLOT_HEIGHT - steps / _STEPS * _PLOT_HEIGHT


def _round_step(largest: float) -> float:
    """Return a round number of which `_STEPS` reach `largest`."""
    magnitude = 10.0 ** math.floor(math.log10(largest / _STEPS))
    return next(step * magnitude for step in (1, 2, 2.5, 4, 5, 10) if step * magnitude * _STEPS >= largest)
