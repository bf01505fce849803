"""Tables as files: CSV with every number at full precision, and LaTeX (booktabs) with the words of the page.

A LaTeX table needs booktabs, and longtable where it is long; with these two it compiles by pdflatex, whatever is in its
cells. It fits the text width of the standard class article: columns break their lines where they must.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from analysis.blocks import Table

Row = dict[str, Any]
LONG = 40  # rows from which on a LaTeX table breaks over pages
TEXT_WIDTH = 345.0  # points, of the class article
SIZES = (
    ("", 10.0, 12.0),
    (r"\footnotesize", 8.5, 6.0),
    (r"\scriptsize", 8.0, 6.0),
)  # em and gap beside a column, points
EM = 0.47  # em for a sign, on average
APART, BREAK = "\u2060", "\u200b"  # keeps two hyphens from being printed as a dash; where a line may end
UNBROKEN, PIECE = 24, 8  # signs of a word (a hash, a path) from which on it may be parted, and into what
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''",
}  # fmt: skip
LETTERS = {
    "ε": r"$\varepsilon$", "γ": r"$\gamma$", "λ": r"$\lambda$", "η": r"$\eta$", "Φ": r"$\Phi$", "χ": r"$\chi$",
    "α": r"$\alpha$", "β": r"$\beta$", "Δ": r"$\Delta$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$",
    "μ": r"$\mu$", "κ": r"$\kappa$", "ψ": r"$\psi$", "π": r"$\pi$", "ω": r"$\omega$", "θ": r"$\theta$",
    "δ": r"$\delta$", "φ": r"$\varphi$", "Σ": r"$\Sigma$", "Λ": r"$\Lambda$", "Γ": r"$\Gamma$", "∂": r"$\partial$",
    "′": r"$'$", "−": r"$-$", "×": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "≈": r"$\approx$", "∞": r"$\infty$", "·": r"$\cdot$", "√": r"$\surd$", "✓": r"$\surd$", "✗": r"$\times$",
    "–": "--", "—": "---", "“": "``", "”": "''", "„": "``", "’": "'", "‘": "`", "…": r"\ldots{}", "½": r"$\frac12$",
    "\u202f": r"\,", "\u00a0": "~", "\u2009": r"\,", "∩": r"$\cap$", "→": r"$\rightarrow$", "°": r"$^{\circ}$",
    "\u2060": "{}", "\u200b": r"\allowbreak{}",
}  # fmt: skip
RAISED = {**dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)), "ᵇ": "b"}
LOWERED = {**dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)), "ₘ": "m"}
SHIFTED = re.compile(f"([{''.join(RAISED)}]+)|([{''.join(LOWERED)}]+)")
LAST_KNOWN = 0x17F  # Latin Extended-A: what LaTeX prints by itself


def csv_text(table: Table) -> str:
    """Returns a table's rows as CSV; what is no number or text in a cell is JSON."""
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in table.rows for name in row))
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table.rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else value


def escape(text: str) -> str:
    """Returns text for LaTeX: its special characters escaped, the field's letters in mathematics.

    A sign of a script that LaTeX does not print by itself is given by its number: ``[U+4E2D]``.
    """
    flat = re.sub(r"\s*\n\s*", " ", text).replace("--", f"-{APART}-")
    pieces, end = [], 0
    for found in SHIFTED.finditer(flat):
        pieces += [*map(_sign, flat[end : found.start()]), _shifted(found)]
        end = found.end()
    whole = "".join([*pieces, *map(_sign, flat[end:])])
    return re.sub(r"(?<!\\)\$\$(?=[_^]\{)", "", whole)  # one formula for a letter and its index


def _shifted(found: re.Match[str]) -> str:
    mark, signs = ("^", RAISED) if found[1] else ("_", LOWERED)
    return f"${mark}{{{''.join(signs[sign] for sign in found[0])}}}$"


def _sign(sign: str) -> str:
    known = {**SPECIAL, **LETTERS}.get(sign)
    if known is not None:
        return known
    printable = ord(sign) <= LAST_KNOWN and unicodedata.category(sign)[0] != "C"
    return sign if printable else f"[U+{ord(sign):04X}]"


def latex_text(table: Row) -> str:
    """Returns a table of ``document.outline`` in LaTeX; needs booktabs, and longtable where it is long."""
    size, columns = _layout(table)
    caption = rf"\caption{{{escape(table['caption'])}}}\label{{tab:{table['name']}}}"
    head = _line(table["head"], columns)
    body = "\n".join(_line(row, columns) for row in table["rows"])
    aligned = "".join(spec for spec, _ in columns)
    small = f"{size}\\setlength{{\\tabcolsep}}{{3pt}}\n" if size else ""
    if len(table["rows"]) > LONG:
        inner = (
            f"\\begin{{longtable}}{{{aligned}}}\n{caption}\\\\\n\\toprule\n{head}\n\\midrule\n\\endhead\n\\bottomrule\n"
            f"\\endlastfoot\n{body}\n\\end{{longtable}}\n"
        )
        return f"{{{small}{inner}}}\n" if size else inner
    return (
        f"\\begin{{table}}\n\\centering\n{caption}\\par\\medskip\n{small}\\begin{{tabular}}{{{aligned}}}\n\\toprule\n{head}\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _layout(table: Row) -> tuple[str, list[tuple[str, str]]]:
    """The size of letters, and each column's specification with what stands before its text."""
    columns = list(zip(table["head"], *table["rows"], strict=True))
    natural = [max(map(len, column)) for column in columns]
    least = [max(len(word) for cell in column for word in _words(cell)) for column in columns]
    rooms = {size: int((TEXT_WIDTH / len(columns) - gap) / (EM * em) - 1) * len(columns) for size, em, gap in SIZES}
    size = next((size for size, room in rooms.items() if sum(natural) <= room), SIZES[-1][0])
    fitted = _narrowed(natural, least, rooms[size])
    return size, [
        (aligned, "") if width == full else (f"p{{{EM * (width + 1):.1f}em}}", before)
        for (aligned, before), width, full in zip(map(_aligned, table["words"]), fitted, natural, strict=True)
    ]


def _aligned(words: bool) -> tuple[str, str]:
    return ("l", r"\raggedright ") if words else ("r", r"\raggedleft ")


def _words(cell: str) -> list[str]:
    """What a line break does not part: an interval stays whole."""
    return re.findall(rf"\[[^\[\]]*\]|[^\s{BREAK}]+", _breakable(cell)) or [""]


def _breakable(cell: str) -> str:
    return re.sub(rf"\S{{{UNBROKEN},}}", lambda word: re.sub(rf"(.{{{PIECE}}})(?=.)", rf"\1{BREAK}", word[0]), cell)


def _narrowed(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit the room, the widest made narrower first, none below its longest word."""
    widths = list(natural)
    while sum(widths) > room:
        wide = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]))
        if widths[wide] <= least[wide]:
            break
        widths[wide] -= 1
    return widths


def _line(cells: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    return " & ".join(map(_shown, cells, columns)) + r" \tabularnewline"


def _shown(cell: str, column: tuple[str, str]) -> str:
    text = re.sub(r"\[[^\[\]]*\]", lambda found: found[0].replace(" ", "~"), escape(_breakable(cell)))
    return f"{column[1]}{{{text}}}" if cell[:1] in "[*" and cell else f"{column[1]}{text}"
