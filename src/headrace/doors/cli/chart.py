"""Line charts of characters: each holds two by four dots of the braille block (U+2800)."""

from collections.abc import Mapping, Sequence

from rich.text import Text

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def line_chart(series: Mapping[str, Sequence[float]], styles: Mapping[str, str], *, width: int, height: int) -> Text:
    """Curves of values in [0, 1], as wide as the longest, resampled to `width` characters; a later series lies over an earlier."""
    cells = [[0] * width for _ in range(height)]
    owners = [[""] * width for _ in range(height)]
    for name, values in series.items():
        for x, value in enumerate(_resampled(values, width * 2)):
            y = round((1.0 - min(1.0, max(0.0, value))) * (height * 4 - 1))
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            owners[y // 4][x // 2] = name
    text = Text()
    for row in range(height):
        label = f"{1 - row / max(1, height - 1):.1f} " if row in (0, height // 2, height - 1) else "    "
        text.append(label, style="dim")
        for column in range(width):
            text.append(chr(0x2800 + cells[row][column]), style=styles.get(owners[row][column], ""))
        text.append("\n")
    return text


def _resampled(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= 1:
        return list(values)
    return [values[min(len(values) - 1, x * len(values) // width)] for x in range(width)]
