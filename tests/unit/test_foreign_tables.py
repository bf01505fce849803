"""Tables of other programs: the documented maps read what those programs write; every fault is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.foreign_tables import read_foreign
from core.errors import ConfigError, ExportError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "foreign_tables.md"

JSPSYCH = """rt,response,trial_type,task,participant,picture,eps,model,trial_index
null,,html-keyboard-response,welcome,a,,,,0
512.3,f,image-keyboard-response,detect,a,cat,0,,1
630,j,image-keyboard-response,detect,a,dog,8,pgd-at,2
null,null,image-keyboard-response,detect,a,fox,8,sip-at,3
701,f,image-keyboard-response,detect,b,cat,8,pgd-at,1
455,j,image-keyboard-response,detect,b,dog,4,sip-at,2
"""
PSYCHOPY = """\ufeffparticipant,image,strength,condition,trials.thisN,key_resp.keys,key_resp.corr,key_resp.rt,session
p1,,,,,space,,1.5,001
p1,cat.png,weak,pgd-at,0,left,1,0.52,001
p1,dog.png,strong,pgd-at,1,None,0,,001
p1,fox.png,strong,sip-at,2,right,0,0.71,001
p1,cat.png,weak,sip-at,0,right,1,0.44,002
"""
PLAIN = """observer;object;shown;said;truth;seconds
1;cat;c05;dog;cat;0.5
1;dog;c10;dog;dog;0.6
2;fox;c05;na;fox;NaN
2;owl;c100;owl;owl;0.4
"""


def documented(name: str) -> str:
    """The map of that name on the documentation page."""
    return re.search(rf"`{name}`:\n\n```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]


def read(tmp_path, text, columns):
    (tmp_path / "trials.csv").write_text(text, encoding="utf-8")
    (tmp_path / "map.toml").write_text(columns, encoding="utf-8")
    return read_foreign(tmp_path / "trials.csv", tmp_path / "map.toml")


def test_the_map_for_jspsych_reads_what_jspsych_writes(tmp_path):
    export = read(tmp_path, JSPSYCH, documented("jspsych.toml"))
    assert export.task == "yes-no"
    assert export.cells.models == ("pgd-at", "sip-at")
    assert (export.level_name, export.eps_unit) == ("", "")
    assert export.cells.eps.tolist() == [0, 8, 4]
    assert export.cells.yes.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert export.cells.trials.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert [(s.rule, s.trials_removed) for s in export.exclusions[:2]] == [
        ("rows that are no trials", 1),
        ("trials without an answer", 1),
    ]
    assert export.answers.rt_ms.tolist() == pytest.approx([512.3, 630, 701, 455])
    assert export.answers.order.tolist() == [1, 2, 1, 2]


def test_the_map_for_psychopy_reads_what_psychopy_writes(tmp_path):
    export = read(tmp_path, PSYCHOPY, documented("psychopy.toml"))
    assert export.task == "2afc"
    assert export.cells.eps.tolist() == [0, 2, 2, 8]
    assert export.cells.yes[0].tolist() == [0, 1, 1, 0]
    assert export.cells.trials[0].tolist() == [0, 1, 1, 1]
    assert export.sessions == 2
    assert sorted(export.answers.rt_ms.tolist()) == pytest.approx([440, 520, 710])
    assert set(export.answers.side.tolist()) == {0}


def test_the_map_for_a_plain_table_knows_chance_and_answers_that_are_none(tmp_path):
    export = read(tmp_path, PLAIN, documented("plain.toml"))
    assert export.cells.choices == 16
    assert (export.level_name, export.eps_unit) == ("contrast", "%")
    assert export.cells.eps.tolist() == [0, 5, 10, 100]
    assert export.cells.yes.sum(axis=0).tolist() == [0, 0, 1, 1]
    assert export.exclusions[0].trials_removed == 1
    assert export.files == ("trials.csv",)


YES_NO = """task = "yes-no"
model = "m"
[columns]
participant = "who"
picture = "picture"
level = "eps"
"""
SEEN = YES_NO + 'response = "said"\n'
RIGHT = YES_NO + 'correct = "right"\n'
TIMED = SEEN + 'rt = "rt"\ntrial = "n"\nconfidence = "sure"\n'


def test_whether_the_answer_was_right_tells_what_it_was(tmp_path):
    export = read(tmp_path, "who,picture,eps,right\na,x,0,1\na,x,4,1\na,y,0,0\na,y,4,false\n", RIGHT)
    assert export.cells.yes.tolist() == [[1, 1]]


def test_sides_are_kept_where_the_table_has_them(tmp_path):
    columns = SEEN.replace("yes-no", "2afc") + 'target_side = "side"\n'
    export = read(tmp_path, "who,picture,eps,said,side\na,x,4,left,left\na,y,4,left,right\n", columns)
    assert export.answers.side.tolist() == [-1, 1]
    assert export.answers.yes.tolist() == [True, False]
    assert export.answers.picked_left.tolist() == [True, True]


def test_same_different_is_read(tmp_path):
    columns = SEEN.replace("yes-no", "same-different")
    export = read(tmp_path, "who,picture,eps,said\na,x,4,different\na,y,0,same\n", columns)
    assert export.cells.yes.tolist() == [[0, 1]]


def test_confidence_is_signed_by_the_answer(tmp_path):
    text = "who,picture,eps,said,rt,n,sure\na,x,4,yes,300,0,3\na,y,0,no,400,1,2\n"
    assert read(tmp_path, text, TIMED).answers.rating.tolist() == [3, -2]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("who,picture,eps\na,x,4\n", SEEN, r"trials.csv: missing column 'said'; name .* \(has: who, picture, eps\)"),
        ("who,picture,eps,said\na,x,c05,yes\n", SEEN, r"row 2, column 'eps': expected a number, 0 or more; give \[val"),
        ("who,picture,eps,said\na,x,4,yes\na,x,-1,no\n", SEEN, r"row 3, column 'eps': expected a number, 0 or more"),
        ("who,picture,eps,said\na,x,4,j\na,x,0,f\n", SEEN, r"row 2, column 'said': expected one of yes, no, got 'j'"),
        ("who,picture,eps,right\na,x,4,maybe\n", RIGHT, r"row 2, column 'right': expected true or false, got 'maybe'"),
        ("who,picture,eps,said\na,,4,yes\n", SEEN, r"row 2, column 'picture': expected a name, got ''"),
        ("who,picture,eps,said,rt,n,sure\na,x,4,yes,-5,0,1\n", TIMED, r"column 'rt': expected a time in ms, 0 or more"),
        (
            "who,picture,eps,said,rt,n,sure\na,x,4,yes,5,1,1\na,y,4,no,5,1,1\n",
            TIMED,
            r"row 3, column 'n': expected each number once in a session, got '1' \(1 such rows\); one row a trial",
        ),
        ("who,picture,eps,said,rt,n,sure\na,x,4,yes,5,1,0.5\n", TIMED, r"column 'sure': expected a whole number"),
        ("who,picture,eps,said\n", SEEN, "expected rows, found only the header"),
        ("who,picture,eps,said\na,x,4,\n", SEEN, "no row is left; look at 'keep', 'only_where' and 'missing'"),
        ("who,picture,eps,said\na,x,0,yes\n", SEEN, "no trial with a perturbed picture is left"),
        ('who,"picture\n', SEEN, "expected a CSV table in UTF-8 with a header, got"),
    ],
)  # fmt: skip
def test_a_fault_of_the_table_is_one_message_with_row_and_column(tmp_path, text, columns, message):
    with pytest.raises(ExportError, match=message):
        read(tmp_path, text, columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (YES_NO, "map.toml: columns: expected 'response' or 'correct', got neither"),
        (SEEN.replace('model = "m"\n', ""), "expected columns.model or, where all trials have one source model"),
        ("choices = 4\n" + SEEN, "choices: expected 2, or with task '2afc' 2 or more, got 4"),
        (SEEN.replace("yes-no", "2afc"), "with task '2afc' expected 'correct', 'expected' or 'target_side'; add one"),
        (SEEN + 'target_side = "side"\n', "columns.target_side: expected with task '2afc' and 2 choices alone"),
        (SEEN + 'expected = "a"\ntarget_side = "b"\n', "expected one of 'correct', 'expected' and 'target_side'"),
        (SEEN + "[values.said]\nj = 'yes'\n", "values.said: expected a table of words for one of the columns partic"),
        (SEEN + 'pictures = "x"\n', "columns: unknown key 'pictures'; did you mean 'picture'"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(tmp_path, columns, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, "who,picture,eps,said\na,x,4,yes\n", columns)


def test_no_table_is_one_message(tmp_path):
    (tmp_path / "map.toml").write_text(SEEN)
    with pytest.raises(ExportError, match="no such table; give the path of a CSV file"):
        read_foreign(tmp_path / "trials.csv", tmp_path / "map.toml")


def test_chance_of_the_alternatives_is_the_guess_rate_of_the_fit(tmp_path):
    from analysis.estimates import point_estimates

    export = read(tmp_path, PLAIN, documented("plain.toml"))
    fit = point_estimates(export.cells, export.cells.yes.sum(0)[None], export.cells.trials.sum(0)[None], "2afc")
    assert np.allclose(fit.psychometric[0].guess, 1 / 16)
