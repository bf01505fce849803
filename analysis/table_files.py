"""Tables as files: CSV with every number at full precision, and LaTeX (booktabs) with the words of the page."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from analysis.blocks import Table

Row = dict[str, Any]
LONG = 40  # rows from which on a LaTeX table breaks over pages
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
LETTERS = {
    "ε": r"$\varepsilon$", "γ": r"$\gamma$", "λ": r"$\lambda$", "η": r"$\eta$", "Φ": r"$\Phi$", "χ": r"$\chi$",
    "α": r"$\alpha$", "β": r"$\beta$", "Δ": r"$\Delta$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$",
    "μ": r"$\mu$", "κ": r"$\kappa$", "ψ": r"$\psi$", "π": r"$\pi$", "ω": r"$\omega$", "θ": r"$\theta$",
    "′": r"$'$", "−": r"$-$", "×": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "≈": r"$\approx$", "∞": r"$\infty$", "·": r"$\cdot$", "²": r"$^2$", "₀": r"$_0$", "₁": r"$_1$", "₂": r"$_2$",
    "₅": r"$_5$", "√": r"$\sqrt{}$", "✓": r"$\checkmark$", "✗": r"$\times$", "–": "--", "—": "---", "“": "``",
    "”": "''", "’": "'", "…": r"\ldots{}", "\u202f": r"\,", "\u00a0": "~", "∩": r"$\cap$", "→": r"$\rightarrow$",
}  # fmt: skip


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
    """Returns text for LaTeX: its special characters escaped, the field's letters in mathematics."""
    return re.sub(r"\s*\n\s*", " ", "".join(SPECIAL.get(sign, LETTERS.get(sign, sign)) for sign in text))


def latex_text(table: Row) -> str:
    """Returns a table of ``document.outline`` in LaTeX; needs booktabs, and longtable where it is long."""
    aligned = "".join("l" if words else "r" for words in table["words"])
    caption = rf"\caption{{{escape(table['caption'])}}}\label{{tab:{table['name']}}}"
    head = _line(table["head"])
    body = "\n".join(map(_line, table["rows"]))
    if len(table["rows"]) > LONG:
        return (
            f"\\begin{{longtable}}{{{aligned}}}\n{caption}\\\\\n\\toprule\n{head}\n\\midrule\n\\endhead\n\\bottomrule\n\\endlastfoot\n"
            f"{body}\n\\end{{longtable}}\n"
        )
    return (
        f"\\begin{{table}}\n\\centering\n{caption}\n\\begin{{tabular}}{{{aligned}}}\n\\toprule\n{head}\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _line(cells: list[str]) -> str:
    return " & ".join(f"{{{escape(cell)}}}" if cell.startswith("[") else escape(cell) for cell in cells) + r" \\"
