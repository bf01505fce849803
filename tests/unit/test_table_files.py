"""LaTeX tables: what pdflatex with booktabs and longtable refuses or sets beyond the margin must not be written.

Each claim was looked at in a compiled document once; here nothing needs LaTeX.
"""

from __future__ import annotations

import re

import pytest

from analysis.table_files import EM, LETTERS, LOWERED, RAISED, SIZES, SPECIAL, TEXT_WIDTH, escape, latex_text

COMMANDS = """
textbackslash textasciitilde textasciicircum textless textgreater textbar textasciigrave ldots allowbreak varepsilon
gamma lambda eta Phi chi alpha beta Delta rho sigma tau mu kappa psi pi omega theta delta varphi Sigma Lambda Gamma
partial times pm leq geq neq approx infty cdot surd frac cap rightarrow circ
"""


def table(head, rows, words=None) -> dict:
    """A table of an outline."""
    return {"name": "t", "caption": "Some words.", "head": head, "rows": rows, "words": words or [True] * len(head)}


def columns(text: str) -> list[str]:
    (specification,) = re.findall(r"\\begin\{(?:tabular|longtable)\}\{((?:[lr]|p\{[\d.]+em\})+)\}", text)
    return re.findall(r"[lr]|p\{[\d.]+em\}", specification)


def widths_in_points(text: str) -> float:
    """Of a table whose columns all break lines, with the gaps beside them."""
    em, gap = next((em, gap) for size, em, gap in reversed(SIZES) if size in text)
    found = columns(text)
    return sum(float(column[2:-3]) * em + gap for column in found)


def test_every_command_is_one_of_latex_itself():
    """No \\checkmark and nothing else of amssymb, which booktabs does not bring."""
    own = set(re.findall(r"\w+", COMMANDS))
    used = {
        name for sign in (*SPECIAL, *LETTERS, *RAISED, *LOWERED) for name in re.findall(r"\\([a-zA-Z]+)", escape(sign))
    }
    assert used <= own


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("ε₅₀ and d′²", r"$\varepsilon_{50}$ and d$'^{2}$"),  # not _5_0, a double subscript
        ("10⁻¹²", "10$^{-12}$"),
        ("--from-csv", "-{}-from-csv"),  # not a dash
        ("a|b `c`", r"a\textbar{}b \textasciigrave{}c\textasciigrave{}"),
        ("✓", r"$\surd$"),
        ("Größe, Żółw", "Größe, Żółw"),
        ("中\u0007", "[U+4E2D][U+0007]"),  # pdflatex stops at what it has no letter for
        (r"100 \$", r"100 \textbackslash{}\$"),
    ],
)
def test_words_are_written_so_that_they_are_printed_as_they_are(given, written):
    assert escape(given) == written


def test_a_first_cell_that_begins_with_a_bracket_or_star_is_not_taken_for_an_option_of_the_line_before():
    lines = latex_text(table(["[a]", "b"], [["*", "c"], ["", "d"]])).splitlines()
    assert r"{[a]} & b \tabularnewline" in lines
    assert r"{*} & c \tabularnewline" in lines
    assert r" & d \tabularnewline" in lines


def test_a_narrow_table_keeps_its_columns_and_a_wide_one_breaks_lines_within_the_text_width():
    assert columns(latex_text(table(["a", "b"], [["one", "1"]], [True, False]))) == ["l", "r"]
    sentence = "an estimator and its interval described in many words " * 3
    wide = latex_text(table(["quantity", "how", "and"], [[sentence] * 3] * 2))
    assert r"\scriptsize" in wide
    assert all(column.startswith("p") for column in columns(wide))
    assert widths_in_points(wide) <= TEXT_WIDTH
    assert r"\raggedright an estimator" in wide


def test_an_interval_is_never_parted_and_stands_under_its_estimate_where_it_must():
    rows = [["source model", *["12.34 [10.21, 15.67]"] * 7]]
    text = latex_text(table(["model", *"abcdefg"], rows, [True, *[False] * 7]))
    assert "12.34 [10.21,~15.67]" in text
    numbers = columns(text)[1:]
    least = EM * (len("[10.21, 15.67]") + 1)
    assert all(number.startswith("p") and float(number[2:-3]) >= round(least, 1) for number in numbers)
    assert r"\raggedleft 12.34" in text


def test_hashes_and_paths_may_break_everywhere_after_eight_signs():
    text = latex_text(table(["file", "SHA-256"], [["a/b.csv", "0123456789abcdef" * 4]]))
    assert text.count(r"\allowbreak{}") == 7
    assert "01234567\\allowbreak{}89abcdef" in text


def test_letters_of_a_middling_table_become_smaller_before_lines_break():
    text = latex_text(table(["a", "b", "c"], [["x" * 22, "y" * 22, "z" * 22]]))
    assert r"\footnotesize" in text
    assert columns(text) == ["l", "l", "l"]


def test_small_letters_of_a_long_table_end_with_it():
    text = latex_text(table(["a", "b", "c"], [["x" * 22, "y" * 22, "z" * 22]] * 50))
    assert text.startswith(r"{\footnotesize\setlength{\tabcolsep}{3pt}")
    assert text.endswith("\\end{longtable}\n}\n")
