# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The picture of the states: places and routes by hand, since no layout engine that needs neither a program nor a network
draws ten boxes as clearly.
"""

from collections.abc import Sequence

BLUE, AMBER, GREY = ("#dbeafe", "#1d4ed8"), ("#fef3c7", "#b45309"), ("#eeeeee", "#555555")
LEFT, WIDTH, HEIGHT = -230, 1330, 445
BOX_WIDTH, BOX_HEIGHT = 180, 46
#: centre of each box, and its colours
BOXES = {
    "awaiting_enrichment": (150, 110, BLUE),
    "awaiting_final": (-110, 110, BLUE),
    "recorded": (430, 110, BLUE),
    "pending": (710, 110, BLUE),
    "delivered": (980, 110, GREY),
    "awaiting_ids": (190, 270, AMBER),
    "no_endpoint": (430, 270, AMBER),
    "parked": (710, 270, AMBER),
    "failed": (980, 270, GREY),
    "cancelled": (435, 410, GREY),
}
WIDE = {"cancelled": 1270}
#: the numbers of the table, the corners of the line, and where along it the numbers stand
ROUTES: tuple[tuple[str, Sequence[tuple[int, int]], tuple[int, int], bool], ...] = (
    ("1", ((150, 40), (150, 87)), (150, 60), False),
    ("2", ((430, 40), (430, 87)), (430, 60), False),
    ("3", ((240, 110), (340, 110)), (290, 110), False),
    ("4", ((520, 102), (620, 102)), (570, 102), False),
    ("24", ((775, 40), (775, 87)), (775, 60), False),
    ("17", ((620, 122), (520, 122)), (570, 122), False),
    ("5", ((800, 110), (890, 110)), (845, 110), False),
    ("6", ((680, 87), (680, 45), (740, 45), (740, 87)), (710, 45), False),
    ("7", ((790, 133), (902, 247)), (862, 206), False),
    ("8", ((735, 133), (735, 247)), (735, 210), False),
    ("10", ((765, 247), (765, 133)), (765, 210), False),
    ("9", ((505, 133), (640, 247)), (586, 201), False),
    ("11", ((670, 247), (520, 128)), (618, 206), False),
    ("12", ((405, 133), (405, 247)), (405, 210), False),
    ("13", ((450, 247), (450, 133)), (450, 210), True),
    ("13", ((980, 133), (980, 158), (470, 158), (470, 133)), (905, 158), True),
    ("13", ((1040, 247), (1040, 158), (980, 158)), (1040, 206), True),
    ("13", ((545, 387), (545, 158)), (545, 345), True),
    ("19", ((350, 133), (230, 247)), (300, 181), False),
    ("4", ((262, 247), (262, 10), (650, 10), (650, 87)), (262, 50), False),
    ("9", ((260, 293), (260, 309), (690, 309), (690, 293)), (380, 309), False),
    ("12", ((280, 270), (340, 270)), (295, 270), False),
    ("14, 15, 16, 18", ((190, 293), (190, 387)), (190, 340), False),
    ("16, 18", ((80, 133), (80, 387)), (80, 340), False),
    ("14, 16, 18", ((360, 133), (360, 200), (310, 200), (310, 387)), (310, 330), False),
    ("16, 18", ((430, 293), (430, 387)), (430, 330), False),
    ("15, 16, 18", ((710, 293), (710, 387)), (710, 330), False),
    ("14, 15, 16, 18", ((775, 133), (830, 250), (830, 387)), (830, 330), False),
    ("15, 16, 18", ((-110, 133), (-110, 387)), (-110, 330), False),
    ("20", ((-110, 40), (-110, 87)), (-110, 60), False),
    ("21", ((360, 87), (360, 76), (-60, 76), (-60, 87)), (20, 76), False),
    ("22", ((-20, 110), (60, 110)), (20, 110), False),
    ("23", ((-60, 133), (-60, 165), (343, 165), (343, 133)), (20, 165), False),
)


def draw() -> str:
    """The SVG, on white: it must be legible on a dark page as well."""
    shapes = [_box(name, *place) for name, place in BOXES.items()]
    lines = [_line(corners, dashed) for _numbers, corners, _place, dashed in ROUTES]
    numbers = [_number(text, *place) for text, _corners, place, _dashed in ROUTES]
    events = [
        _text("a grade event", 150, 28, "#333"),
        _text("a grade event, an enrolment", 430, 28, "#333"),
        _text("a grade event", -110, 28, "#333"),
        _text("a retirement", 775, 28, "#333"),
    ]
    return "\n".join([*HEAD, *lines, *shapes, *events, *numbers, "</svg>", ""])


HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{LEFT} 0 {WIDTH} {HEIGHT}" role="img" '
    'font-family="system-ui, sans-serif" font-size="15">',
    "<title>States of a webhook</title>",
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 L8 4 L0 8 z" fill="#444"/></marker></defs>',
    f'<rect x="{LEFT}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
)


def _box(name: str, x: int, y: int, colours: tuple[str, str]) -> str:
    width = WIDE.get(name, BOX_WIDTH)
    fill, stroke = colours
    return (
        f'<rect x="{x - width // 2}" y="{y - BOX_HEIGHT // 2}" width="{width}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}"/>{_text(name, x, y, stroke, bold=True)}'
    )


def _text(text: str, x: int, y: int, colour: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{colour}" font-size="14"{weight}>{text}</text>'


def _line(corners: Sequence[tuple[int, int]], dashed: bool) -> str:
    points = " ".join(f"{x},{y}" for x, y in corners)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="#444" marker-end="url(#tip)"{dashes}/>'


def _number(text: str, x: int, y: int) -> str:
    width = 10 + 8 * len(text)
    return (
        f'<rect x="{x - width // 2}" y="{y - 9}" width="{width}" height="18" rx="9" fill="#fff" stroke="#888"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-size="12" fill="#222">{text}</text>'
    )
