"""What a report consists of besides the page: PDF, LaTeX, methods; and what it says of data that hold little."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from analysis import report
from analysis.estimates import estimate, estimates_of
from analysis.pdf_headers import mark_row_heads
from analysis.study import read_study
from analysis.threshold_draws import threshold_draws, thresholds_of
from analysis.trials import TRIALS_FILE
from core import rng
from tests.simulated_export import write_evaluation, write_export

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--bootstrap", "100", "--no-progress"]
PLAN = """title = "Two questions"
alpha = 0.01
confirmatory = ["contrast:sip-at/standard", "threshold:sip-at", "undetected:never-shown"]
"""


def written(export: Path, out: Path, *options: str) -> Path:
    assert report.main([str(export), *QUICK, *options, "--out", str(out)]) == 0
    return out


def results_of(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    (folder / "plan.toml").write_text(PLAN)
    runs = [write_evaluation(folder / run, run, half=half) for run, half in (("standard", 2.0), ("sip-at", 7.0))]
    export = write_export(folder / "export", participants=24, seed=5)
    options = ["--evaluations", *map(str, runs), "--plan", str(folder / "plan.toml")]
    return written(export, folder / "out", *options)


def test_the_pdf_is_tagged_titled_and_accessible_by_its_own_word(planned):
    pdf = (planned / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.7")
    assert pdf.rstrip().endswith(b"%%EOF")
    for mark in (b"/StructTreeRoot", b"/MarkInfo", b"/Marked true", b"<pdfuaid:part>1<", b"/Lang(en)", b"/Outlines"):
        assert mark in pdf.replace(b"/Lang (en)", b"/Lang(en)"), mark
    assert b"What people see, what machines lose" in pdf


def objects_of(pdf: bytes) -> dict[int, bytes]:
    """Every object where the table of places says that it is; a place that is wrong fails here."""
    start = int(re.search(rb"startxref\s+(\d+)", pdf)[1])
    count = int(re.match(rb"xref\n0 (\d+)\n", pdf[start:])[1])
    lines = pdf[start:].splitlines()[2 : 2 + count]
    places = {number: int(line[:10]) for number, line in enumerate(lines) if line.rstrip().endswith(b"n")}
    for number, place in places.items():
        assert pdf[place:].startswith(b"%d 0 obj" % number)
    return {number: pdf[place : pdf.index(b"endobj", place)] for number, place in places.items()}


def test_the_structure_tree_of_the_pdf_names_rows_columns_and_figures(planned):
    objects = objects_of((planned / "report.pdf").read_bytes())
    (root,) = [text for text in objects.values() if b"/Type/StructTreeRoot" in text]
    assert b"/K[" in root
    heads = [text for text in objects.values() if b"/S/TH/" in text]
    page = (planned / "index.html").read_text()
    bodies = [
        re.findall(r"<tr[^>]*>.*?</tr>", body, re.DOTALL)
        for body in re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    ]
    rows = sum(row.count("<th scope=row") for body in bodies for row in (body[:40] if len(body) > 48 else body))
    assert sum(b"/Scope/Row" in text for text in heads) == rows > 100
    assert sum(b"/Scope/Column" in text for text in heads) == page.count('<th scope="col"')
    assert len(heads) == rows + page.count('<th scope="col"')
    assert not [text for text in objects.values() if b"/S/TD/" in text and b"/Headers" in text]


def test_alternative_texts_in_the_pdf_are_the_descriptions_of_the_figures(planned):
    objects = objects_of((planned / "report.pdf").read_bytes())
    alternatives = [re.search(rb"/Alt ?(<[0-9A-F]+>|\((?:[^()\\]|\\.)*\))", text)[1]
                    for text in objects.values() if b"/S/Figure/" in text]  # fmt: skip
    read = {bytes.fromhex(text[1:-1].decode()).decode("utf-16") if text.startswith(b"<") else text[1:-1].decode()
            for text in alternatives}  # fmt: skip
    page = (planned / "index.html").read_text()
    described = {unescape(text).removesuffix(".") for text in re.findall(r"<desc[^>]*>(.*?)</desc>", page, re.DOTALL)}
    assert read == described
    assert all(re.search(r"\d", text) for text in read)


@pytest.mark.parametrize(
    ("pdf", "row_heads", "message"),
    [
        (b"%PDF-1.7\n%%EOF", [], "one plain table of objects, got another kind"),
        (None, [[True]], "expected 1 tables in the PDF's structure tree, got"),
    ],
)
def test_a_pdf_that_is_built_in_another_way_is_not_rewritten(planned, pdf, row_heads, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mark_row_heads(pdf or (planned / "report.pdf").read_bytes(), row_heads)


def test_latex_tables_are_whole_and_every_row_has_as_many_cells_as_the_head(planned):
    names = {path.stem for path in (planned / "tables").glob("*.csv")}
    assert {path.stem for path in (planned / "tables").glob("*.tex")} == names
    for path in (planned / "tables").glob("*.tex"):
        text = path.read_text()
        parse_latex(text, path.name)
        assert re.search(r"[^\x00-\x7f]", re.sub(r"[äöüéß°µ]", "", text)) is None, path.name


def parse_latex(text: str, name: str) -> None:
    """A small reading of LaTeX: balanced braces and environments, one alignment, equal cells, nothing unescaped."""
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}"), name
    opened = []
    for kind, environment in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        opened.append(environment) if kind == "begin" else None
        assert kind == "begin" or opened.pop() == environment, name
    assert opened == [], name
    (alignment,) = re.findall(r"\\begin\{(?:tabular|longtable)\}\{((?:[lr]|p\{[\d.]+em\})+)\}", text)
    alignment = re.sub(r"\{.*?\}", "", alignment)
    lines = [line for line in text.splitlines() if line.endswith(r" \tabularnewline")]
    assert len(lines) >= 2, name
    for line in lines:
        assert len(re.findall(r"(?<!\\)&", line)) + 1 == len(alignment), f"{name}: {line}"
        assert not re.search(r"(?<!\\)[#%_]", re.sub(r"\$[^$]*\$", "", line)), f"{name}: {line}"


def test_every_table_and_figure_has_a_file_of_its_own_name(planned):
    page = (planned / "index.html").read_text()
    shown = len(re.findall(r'role="region" aria-label="Table \d+"', page))
    empty = len(re.findall(r"<tbody>\s*</tbody>", page))
    assert len(list((planned / "tables").glob("*.csv"))) == shown - empty
    assert len(list((planned / "figures").glob("*.svg"))) == page.count("<svg ")


def test_methods_say_what_was_really_done(planned):
    text = (planned / "methods.txt").read_text()
    data, manifest = results_of(planned)["data"], json.loads((planned / "manifest.json").read_text())
    assert f"{data['participants']} participants in {data['sessions']} sessions" in text
    assert "practice trials (50 answers, 0 participants)" in text
    assert manifest["plan_sha256"] in text
    assert f"seed {manifest['seed']}" in text
    assert "100 bootstrap draws" in text
    assert f"numpy {manifest['versions']['numpy']}" in text
    page = unescape((planned / "index.html").read_text())
    for paragraph in text.strip().split("\n\n"):
        assert f"<p>{paragraph}</p>" in page


def test_the_plan_splits_confirmatory_from_exploratory(planned):
    page = (planned / "index.html").read_text()
    manifest = json.loads((planned / "manifest.json").read_text())
    assert manifest["plan_sha256"] == manifest["inputs"]["plan.toml"]
    confirmatory, exploratory = (
        page.index("<h2>Confirmatory analyses</h2>"),
        page.index("<h2>Exploratory analyses</h2>"),
    )
    assert page.index('id="summary"') < confirmatory < page.index('id="confirmatory"') < exploratory
    assert exploratory < page.index('id="detection"')
    assert manifest["plan_sha256"] in page[confirmatory:exploratory]
    assert "undetected:never-shown — not estimable" in page[confirmatory:exploratory]


def test_planned_outcomes_link_to_the_figures_and_tables_that_show_them_on_the_page_and_in_the_pdf(planned):
    page = (planned / "index.html").read_text()
    part = page[page.index('id="confirmatory"') : page.index("<h2>Exploratory analyses</h2>")]
    links = dict(re.findall(r'<a href="#([^"]+)">([^<]+)</a>', part))
    assert {"figure-contrasts", "table-contrasts", "table-thresholds", "contrasts", "detection"} <= set(links)
    for target, words in links.items():
        at = page.index(f'id="{target}"')
        assert words.strip("“”") in unescape(page[at : at + 30_000 if "figure" in target else at + 2000]), target
    threshold = results_of(planned)["source_models"]["sip-at"]["threshold"]["eps_dprime1"]
    assert f"threshold:sip-at — Threshold of sip-at in grey levels: ε at d′ = 1 = {threshold['estimate']:#.3g}" in part
    pdf = (planned / "report.pdf").read_bytes()
    assert pdf.count(b"/Subtype/Link") >= len(links) + page.count('<li><a href="#')


def test_intervals_have_the_level_that_goes_with_the_plans_alpha(planned):
    results, page = results_of(planned), (planned / "index.html").read_text()
    assert results["settings"]["level"] == 0.99
    assert "rates with 99 % intervals in brackets" in page
    methods = (planned / "methods.txt").read_text()
    assert "Tests were judged at α = 0.01" in methods
    assert "intervals are at 99 %" in methods
    study = read_study(planned.parent / "export", plan=planned.parent / "plan.toml", replicates=100, progress=False)
    cells = study.export.cells
    wide, narrow = (estimate(cells, replicates=100, seed=1, progress=False, level=level) for level in (0.99, 0.95))
    ratio = student.ppf(0.995, 23) / student.ppf(0.975, 23)
    for index, (outer, inner) in enumerate(zip(wide.eps_dprime1, narrow.eps_dprime1, strict=True)):
        half = [np.log2(each.interval.high / each.interval.estimate) for each in (outer, inner)]
        assert half[0] / half[1] == pytest.approx(ratio)
        told = results["source_models"][cells.models[index]]["threshold"]["eps_dprime1"]
        assert told["high"] == pytest.approx(outer.interval.high)


def test_sections_that_speak_of_the_same_thing_give_the_same_number(planned):
    results = results_of(planned)
    models = results["source_models"]
    pooled = {row["source_model"]: row["pooled"]["estimate"] for row in results["population"]["two_stage"]}
    for name, model in models.items():
        eps50, dprime1 = (model["threshold"][kind]["estimate"] for kind in ("eps50", "eps_dprime1"))
        assert results["curves"]["source_models"][name]["parameters"]["eps50"]["estimate"] == eps50
        assert pooled[name] == dprime1
    for row in results["contrasts"]["contrasts"]:
        ends = [models[row[side]]["threshold"][row["quantity"]]["estimate"] for side in ("first", "second")]
        assert row["ratio"]["estimate"] == pytest.approx(ends[0] / ends[1], rel=1e-12)


def test_all_sections_look_at_one_set_of_draws(planned):
    study = read_study(planned.parent / "export", plan=planned.parent / "plan.toml", replicates=100, progress=False)
    found = estimates_of(study)
    assert estimates_of(study) is found
    apart = threshold_draws(study.export.cells, study.export.task, replicates=100, seed=1)
    for own, other in zip(thresholds_of(study), apart, strict=True):
        assert own.draws.shape == (100, 3)
        np.testing.assert_allclose(own.draws, other.draws, rtol=1e-9)
        np.testing.assert_allclose(own.point, other.point, rtol=1e-9)


def test_without_typst_the_page_is_complete_and_one_line_says_what_is_missing(tmp_path):
    export = write_export(tmp_path / "export", participants=6)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "typst.py").write_text("raise ImportError('typst is blocked')\n")
    done = subprocess.run(
        [sys.executable, "-m", "analysis.report", str(export), *QUICK, "--out", str(tmp_path / "out")],
        cwd=ROOT, env={"PYTHONPATH": str(tmp_path / "blocked"), "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    line = "report.pdf: not written, since typst cannot be imported; the page is complete (pip install typst)"
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == line
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["missing"] == [line]
    assert "report.pdf" not in manifest["outputs"]
    assert not (tmp_path / "out" / "report.pdf").exists()
    assert "</html>" in (tmp_path / "out" / "index.html").read_text()


def rewrite(export: Path, change) -> Path:
    path = export / TRIALS_FILE
    with path.open() as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row)
    return export


def answering(response: str):
    def change(row):
        return row | {"response": response, "correct": str((response == "yes") == bool(row["run"])).lower()}

    return change


def as_2afc(row):
    """A yes becomes the side of the perturbed picture; two references have no right answer."""
    side = "left" if int(row["trial_index"]) % 2 else "right"
    other = "right" if side == "left" else "left"
    correct = row["response"] == "yes"
    return row | {
        "task": "2afc", "target_side": side, "response": side if correct else other,
        "correct": str(correct).lower() if row["run"] else "",
    }  # fmt: skip


def as_same_different(row):
    return row | {"task": "same-different", "response": "different" if row["response"] == "yes" else "same"}


LITTLE = {
    "one participant": (lambda folder: write_export(folder, participants=1), "fewer than 3 participants"),
    "one level": (lambda folder: write_export(folder, participants=8, eps=(8,)), "fewer than two values of ε"),
    "all yes": (lambda folder: rewrite(write_export(folder, participants=8), answering("yes")), "every answer was the"),
    "all no": (lambda folder: rewrite(write_export(folder, participants=8), answering("no")), "above the tested range"),
    "no ε = 0": (lambda folder: write_export(folder, participants=8, noise=0), "no unperturbed picture was shown"),
    "2afc": (lambda folder: rewrite(write_export(folder, participants=12), as_2afc), "yes-no answers alone"),
    "same-different": (
        lambda folder: rewrite(write_export(folder, participants=12), as_same_different),
        "yes-no answers alone",
    ),
}


OTHER_TASKS = ("2afc", "same-different")


@pytest.mark.parametrize("case", LITTLE)
def test_a_report_comes_out_of_little_and_says_what_cannot_be_said(tmp_path, case):
    make, words = LITTLE[case]
    out = written(make(tmp_path / "export"), tmp_path / "out")
    results, page = results_of(out), (out / "index.html").read_text()
    assert (out / "report.pdf").stat().st_size > 10_000
    assert "NaN" not in page
    assert not re.search(r"\bnan\b|\binf\b", page)
    refused = [model["threshold"]["eps_dprime1"] for model in results["source_models"].values()]
    assert all(threshold["estimate"] is None for threshold in refused)
    assert words in page
    assert results["data"]["task"] == (case if case in OTHER_TASKS else "yes-no")
    if case in ("all yes", "all no"):
        assert results["observers"]["criterion"] is None
        assert results["sensitivity"]["not_estimable"]["reason"] == "one_answer"
        for model in results["source_models"].values():
            assert [point["d_prime"] for point in model["by_eps"]] == [None] * len(model["by_eps"])
    if case in ("all yes", "all no", "one participant", "no ε = 0"):
        assert all(model["curve"]["d_prime"] is None for model in results["source_models"].values())
    if case in OTHER_TASKS:
        for model in results["source_models"].values():
            assert model["threshold"]["eps_dprime1"]["not_estimable"]["reason"] == "other_task"
            assert all(point["d_prime"] is None and point["criterion"] is None for point in model["by_eps"])
            assert (model["psychometric"]["guess_rate"] == 0.5) is (case == "2afc")
        assert (results["observers"]["false_alarms"] is None) is (case == "2afc")


COLUMNS = """task = "yes-no"
[columns]
participant = "who"
picture = "photo"
level = "strength"
model = "condition"
response = "key"
rt = "time"
[values.response]
j = "yes"
f = "no"
"""


def test_a_table_of_another_program_is_reported_by_a_map_of_its_columns(tmp_path):
    generator = rng.numpy_generator(3, "foreign table")
    lines = ["who,photo,strength,condition,key,time"]
    for person in range(8):
        for trial in range(60):
            eps = (0, 2, 8, 32)[trial % 4]
            key, time = "j" if generator.normal(eps / 8, 1) > 0.7 else "f", generator.uniform(300, 900)
            lines.append(f"p{person},photo{trial % 10},{eps},{'soft' if eps else ''},{key},{time:.1f}")
    (tmp_path / "trials.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "map.toml").write_text(COLUMNS)
    options = ["--from-csv", str(tmp_path / "trials.csv"), "--columns", str(tmp_path / "map.toml")]
    assert report.main([*options, *QUICK, "--out", str(tmp_path / "out")]) == 0
    results, manifest = results_of(tmp_path / "out"), json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert results["data"]["trials"] == 480
    assert results["source_models"]["soft"]["threshold"]["eps_dprime1"]["estimate"] == pytest.approx(8, rel=0.3)
    assert {"export/trials.csv", "columns.toml"} <= set(manifest["inputs"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected either EXPORT or --from-csv FILE"),
        (["export", "--from-csv", "a.csv", "--columns", "b.toml"], "expected either EXPORT or --from-csv FILE"),
        (["--from-csv", "a.csv"], "expected --from-csv FILE and --columns MAP together"),
        (["export", "--columns", "b.toml"], "expected --from-csv FILE and --columns MAP together"),
    ],
)
def test_options_that_do_not_fit_together_are_a_usage_error(capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        report.main([*options, "--out", "out"])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
