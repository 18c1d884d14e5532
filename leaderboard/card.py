"""The picture that a shared link shows: a suite's headline and its first rows, with their intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from kdbench.records.standings import tracks
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.headline import Answer
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.verdicts import mark

SIZE = (1200, 630)
MOST_ROWS = 8
TONES = {"better": "#00643c", "worse": "#9c3d00"}
TEXT, DIM, LINE = "#1f2430", "#5b6475", "#dde1e8"


def card(board: Board, rows: Sequence[Standing], answers: Sequence[Answer]) -> bytes:
    """A PNG of 1200 x 630 pixels."""
    image = Image.new("RGB", SIZE, "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.text((50, 36), "kdbench", TEXT, font(34))
    draw.text((215, 42), shortened(draw, board.title, 27, 920), DIM, font(27))
    for n, answer in enumerate(answers[:2]):
        tone = TONES.get(answer.mark, DIM)
        draw.ellipse((52, 106 + 40 * n, 66, 120 + 40 * n), tone)
        draw.text((80, 98 + 40 * n), shortened(draw, answer.text, 24, 1070), TEXT, font(24))
    ranked = tracks([s for s in rows if s.place is not None])
    table(draw, ranked[0][:MOST_ROWS] if ranked else [])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def table(draw: ImageDraw.ImageDraw, shown: Sequence[Standing]) -> None:
    """A line a row: place, name, accuracy, and the gain over the plain student with its interval."""
    gains = [s.gain for s in shown if s.gain]
    bounds = [v for g in gains for v in (g.low, g.high, g.mean, 0.0) if v is not None] or [0.0, 1.0]
    low, high = min(bounds), max(bounds)

    def at(value: float) -> float:
        return 590 + 400 * (value - low) / ((high - low) or 1.0)

    for n, s in enumerate(shown):
        y = 206 + 50 * n
        draw.line((50, y - 8, 1150, y - 8), LINE)
        draw.text((50, y), str(s.place), DIM, font(26))
        draw.text((105, y), shortened(draw, s.row.title, 26, 300), TEXT, font(26))
        if s.accuracy:
            draw.text((420, y), f"{s.accuracy[0]:.2f} %", TEXT, font(26))
        if s.gain:
            tone = TONES.get(mark(s.against["vanilla"]), DIM)
            if s.gain.low is not None and s.gain.high is not None:
                draw.line((at(s.gain.low), y + 16, at(s.gain.high), y + 16), tone, 3)
            x = at(s.gain.mean)
            draw.ellipse((x - 7, y + 9, x + 7, y + 23), tone)
            draw.text((1040, y), f"{s.gain.mean:+.2f}", tone, font(26))
    if gains:
        draw.line((at(0.0), 200, at(0.0), 200 + 50 * len(shown)), DIM)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def shortened(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """A text that fits; what the font lacks is left out."""
    text = "".join(character for character in text[:300] if character.isprintable() and ord(character) < 0x250)
    if draw.textlength(text, font(size)) <= width:
        return text
    while text and draw.textlength(text + "...", font(size)) > width:
        text = text[:-1]
    return text + "..."
