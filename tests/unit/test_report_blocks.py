"""What the report's blocks become: numbering, words, LaTeX, SVG; and that its colours can be read by everybody."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from matplotlib.figure import Figure as Drawing

from analysis import drawing, wording
from analysis.blocks import Column, Figure, Finding, Paragraph, Section, Table
from analysis.document import Document, Part, figures, outline, tables, tables_of
from analysis.page import render
from analysis.report import TEMPLATES
from analysis.sections import SHOWN_IN, outcomes
from analysis.table_files import csv_text, escape, latex_text

AA_TEXT, AA_SHAPES = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
SHAPES_TOLD_BY_MORE = {"#E69F00", "#56B4E9", "#CC79A7"}  # Okabe-Ito's light ones: marker and dash say the same


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def css_colours(scheme: str = "light") -> dict[str, str]:
    """The colours of the page in the light or, where it says otherwise, the dark scheme."""
    light, dark = (TEMPLATES / "style.css").read_text().split("@media screen and (prefers-color-scheme: dark)")
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", light + dark if scheme == "dark" else light))


def test_contrast_is_that_of_the_standard():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "paper"), ("soft", "paper"), ("ink", "wash"), ("soft", "wash"), ("link", "wash"), ("link", "paper"),
        ("ink", "note"), ("ink", "result"), ("refusal-ink", "refusal"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_the_page_reaches_aa(text, ground, scheme):
    colours = css_colours(scheme)
    assert contrast(colours[text], colours[ground]) >= AA_TEXT


def test_text_on_the_head_of_the_page_and_in_figures_reaches_aa():
    deep = css_colours()["deep"]
    assert all(contrast("#ffffff", css_colours(scheme)["deep"]) >= AA_TEXT for scheme in ("light", "dark"))
    for colour in re.findall(r"color: (#[0-9a-f]{3,6})", (TEMPLATES / "style.css").read_text().split(".columns")[0]):
        if colour in ("#fff", "#bfd6e6", "#e4eef5"):
            assert contrast(colour, deep) >= AA_TEXT
    for colour in (drawing.INK, drawing.MACHINE):
        assert contrast(colour, "#ffffff") >= AA_TEXT


def test_shapes_in_figures_reach_aa_or_differ_by_marker_and_dash_too():
    for style in drawing.STYLES:
        assert style.colour in SHAPES_TOLD_BY_MORE or contrast(style.colour, "#ffffff") >= AA_SHAPES
    assert len({style.marker for style in drawing.STYLES}) == len(drawing.STYLES)
    assert len({style.dash for style in drawing.STYLES}) == len(drawing.STYLES)


def table(name: str, rows: int = 2) -> Table:
    columns = (
        Column(head="source & model", show=lambda row: row["model"], row_head=True),
        Column(head="ε in %", show=lambda row: wording.number(row["eps"])),
    )
    return Table(
        name=name, caption=f"The table “{name}”.", columns=columns,
        rows=[{"model": f"m_{index}", "eps": -0.123456789 * index, "parts": [1, index]} for index in range(rows)],
    )  # fmt: skip


def figure(name: str) -> Figure:
    with drawing.ink():
        drawn = Drawing(figsize=(4, 3), layout="constrained")
        drawn.subplots().plot([0.123456, 1], [0, 1.98765])
        svg = drawing.svg(drawn, name, "A <title>", "from 0 to 1")
    return Figure(name=name, title="A title", description="from 0 to 1", caption="c", svg=svg, table=table(f"{name}-t"))


@pytest.fixture(scope="module")
def document() -> Document:
    first = Section(name="a", title="A", results={}, blocks=(table("one"), figure("x"), Paragraph(text="<b>&")))
    second = Section(name="b", title="B", results={}, blocks=(figure("y"), table("long", rows=20)))
    parts = (
        Part(heading="", introduction=(), sections=(first,)),
        Part(heading="P", introduction=(), sections=(second,)),
    )
    return Document(title="T", lead="l", parts=parts)


def test_figures_and_tables_are_numbered_through_the_report_each_figure_before_its_table(document):
    plain = outline(document)
    assert [each["number"] for each in tables_of(plain)] == [1, 2, 3, 4]
    assert [each["name"] for each in tables_of(plain)] == ["one", "x-t", "y-t", "long"]
    assert [each.name for each in tables(document)] == ["one", "x-t", "y-t", "long"]
    assert [each.name for each in figures(document)] == ["x", "y"]
    assert [each["long"] for each in tables_of(plain)] == [False, False, False, True]


def test_the_page_escapes_text_and_puts_each_table_right_below_its_figure(document):
    page = render(outline(document), {"source_models": {"m_0": None}}, TEMPLATES)
    assert "&lt;b&gt;&amp;" in page
    assert "<title>A &lt;title&gt;" in page.replace('<title id="x-title">', "<title>")
    assert page.index("Figure 1.") < page.index('aria-label="Table 2"') < page.index("Figure 2.")
    assert page.count('<details class="long"') == 1
    assert "background: #0072B2" in page


def test_groups_of_rows_are_set_apart_only_where_each_head_stands_together():
    heads = (["a", "a", "b"], ["a", "b", "a"], ["a", "b", "c"])
    columns = (Column(head="h", show=lambda row: row["h"], row_head=True),)
    blocks = tuple(Table(name=str(at), caption="", columns=columns, rows=[{"h": h} for h in names])
                   for at, names in enumerate(heads))  # fmt: skip
    section = Section(name="s", title="S", results={}, blocks=blocks)
    plain = outline(Document(title="", lead="", parts=(Part(heading="", introduction=(), sections=(section,)),)))
    assert [each["first"] for each in tables_of(plain)] == [[False, False, True], [False] * 3, [False] * 3]


def test_latex_escapes_its_own_signs_and_turns_the_letters_of_the_field_into_mathematics():
    assert escape(r"50 % & a_b #1 {x} \y ~ ^ < >") == (
        r"50 \% \& a\_b \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \textless{} \textgreater{}"
    )
    assert escape("d′ = −1 at ε₅₀") == r"d$'$ = $-$1 at $\varepsilon_{50}$"


def test_a_long_latex_table_breaks_over_pages(document):
    short, long = (latex_text(outline_table(rows)) for rows in (3, 41))
    assert "\\begin{tabular}{lr}" in short
    assert "\\begin{longtable}{lr}" in long
    assert long.count(r" \tabularnewline") == 42
    assert r"\endhead" in long


def outline_table(rows: int) -> dict:
    section = Section(name="s", title="S", results={}, blocks=(table("t", rows=rows),))
    plain = outline(Document(title="", lead="", parts=(Part(heading="", introduction=(), sections=(section,)),)))
    return next(tables_of(plain))


def test_csv_has_full_precision_and_json_in_cells_that_hold_more_than_one_value():
    lines = csv_text(table("t")).splitlines()
    assert lines == ["model,eps,parts", 'm_0,-0.0,"[1, 0]"', 'm_1,-0.123456789,"[1, 1]"']


def test_svg_keeps_text_as_text_two_decimals_and_ids_of_its_own():
    svg = figure("name").svg
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert (root[0].text, root[1].text) == ("A <title>", "from 0 to 1.")
    assert "<text" in svg
    assert re.search(r"<[^>]*\d\.\d{3,}[^>]*>", svg) is None
    assert all(name.startswith("name-") for name in re.findall(r'\bid="([^"]+)"', svg))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_the_axis_of_epsilon_shows_few_levels_by_their_numbers_and_not_too_many():
    axes = Drawing().subplots()
    assert drawing.epsilon_axis(axes, [0, 1, 2, 4, 4, 2]) == 1
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "4"]
    drawing.epsilon_axis(axes, range(33))
    shown = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert len(shown) <= 14
    assert (shown[0], shown[-1]) == ("0", "32")


@pytest.mark.parametrize(
    ("eps", "unit", "label"),
    [
        ([0, 1, 2], drawing.GREY, "perturbation budget ε (grey levels of 255; 0 = unperturbed)"),
        ([1, 2], drawing.GREY, "perturbation budget ε (grey levels of 255)"),
        ([0, 1, 2], "%", "ε (%; 0 = none)"),
        ([1, 2], "%", "ε (%)"),
        ([0, 1, 2], "", "level ε of the table (0 = none)"),
        ([1, 2], "", "level ε of the table"),
    ],
)
def test_the_axis_of_epsilon_has_the_unit_of_the_data_and_0_only_where_it_is_shown(eps, unit, label):
    axes = Drawing().subplots()
    drawing.epsilon_axis(axes, eps, unit=unit)
    assert axes.get_xlabel() == label
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{value}" for value in eps]
    assert len(axes.lines) == (2 if 0 in eps else 0)


def test_numbers_in_words():
    assert [wording.number(value) for value in (-0.001, -1.5, None)] == ["0.00", "−1.50", "–"]
    assert [wording.p_value(value) for value in (0.0004, 0.0321, None)] == ["< 0.001", "= 0.032", "–"]
    assert wording.bracket({"estimate": 2.0, "low": None, "high": 3.0}, wording.grey) == "2.00 [below range, 3.00]"
    assert wording.thousands(12345) == "12\u202f345"
    assert (wording.plural(1, "class", "classes"), wording.plural(2, "class", "classes")) == ("1 class", "2 classes")


def found(name: str, *analyses: str) -> Section:
    findings = tuple(Finding(analysis=analysis, text=f"{analysis} found.") for analysis in analyses)
    return Section(name=name, title=name, results={}, blocks=(), findings=findings)


@pytest.mark.parametrize(
    ("planned", "analyses"),
    [
        ("undetected:a", ["undetected:a"]),
        ("robust-accuracy:a", ["robust-accuracy:a/pgd/eps50", "robust-accuracy:a/apgd/eps50"]),
        ("robust-accuracy:a/apgd", ["robust-accuracy:a/apgd/eps50"]),
        ("machine:b/a", ["machine:a/b/pgd/8"]),
        ("machine:a/b", ["machine:a/b/pgd/8"]),
        ("undetected:ab", []),
        ("threshold:a", []),
    ],
)
def test_a_planned_name_stands_for_all_outcomes_that_go_on_from_it_in_either_order(planned, analyses):
    sections = [
        found("joint", "undetected:a", "undetected:a/b", "robust-accuracy:a/pgd/eps50", "robust-accuracy:a/apgd/eps50"),
        found("machine", "machine:a/b/pgd/8"),
    ]
    paragraphs = outcomes(planned, sections)
    assert [each.text for each in paragraphs if each.kind == "result"] == [
        f"{each} — {each} found." for each in analyses
    ]
    assert paragraphs[-1].see[: len(SHOWN_IN[planned.split(":")[0]])] == SHOWN_IN[planned.split(":")[0]]
    assert [each.kind for each in paragraphs] == (["result"] * len(analyses) or ["refusal"])


def test_paragraphs_link_to_figures_tables_and_sections_that_are_there_and_to_nothing_else():
    text = Paragraph(text="See it.", see=("x", "t", "gone", "section:s"))
    drawn = Figure(name="x", title="X", description="x", caption="", svg="<svg></svg>", table=table("x"))
    section = Section(name="s", title="All of it", results={}, blocks=(text, drawn, table("t")))
    plain = outline(Document(title="", lead="", parts=(Part(heading="", introduction=(), sections=(section,)),)))
    assert [(link["target"], link["label"]) for link in plain["parts"][0]["sections"][0]["blocks"][0]["see"]] == [
        ("figure-x", "Figure 1"), ("table-x", "Table 1"), ("table-t", "Table 2"), ("s", "“All of it”"),
    ]  # fmt: skip


def test_a_wide_table_puts_intervals_under_their_estimates_and_a_narrow_one_does_not():
    def many(count: int) -> Table:
        columns = [Column(head=f"c{index}", show=lambda _: "0.12 [0.01, 0.23]") for index in range(count)]
        return Table(name=f"w{count}", caption="", columns=tuple(columns), rows=[{}])

    section = Section(name="s", title="s", results={}, blocks=(many(3), many(8)))
    plain = outline(Document(title="", lead="", parts=(Part(heading="", introduction=(), sections=(section,)),)))
    assert [each["wide"] for each in tables_of(plain)] == [False, True]
    page = render(plain, {"source_models": {}}, TEMPLATES)
    assert page.count('<table class="wide-rows">') == 1
    assert page.count('<td class="interval">0.12 <span>[0.01, 0.23]</span></td>') == 11
