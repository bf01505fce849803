"""The section "design": what has to be in order before any result is read; printed first."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from analysis import wording
from analysis.blocks import Block, Column, Paragraph, Section, Table
from analysis.likelihood import Floats
from analysis.study import Study
from analysis.wording import percent, plain_percent, plural, thousands

ANCHOR = 0.9  # detection rate at the largest ε from which on the lapse rate can be told from the slope
FEWEST_EVENTS = 5  # for a test
FALSE_ALARMS_HIGH = 0.5
SIDE_BIAS = 0.1  # of the share of "left" from one half
Verdict = Literal["ok", "look", "missing"]
Row = dict[str, Any]
SHOWN: dict[Verdict, str] = {"ok": "in order", "look": "look at it", "missing": "not there"}


def section(study: Study) -> Section:
    """Returns the section ``design``."""
    results = {
        "catch_trials": catch_trials(study),
        "false_alarms": false_alarms(study),
        "ceiling": ceiling(study),
        "pictures": pictures(study),
        "participants_per_model": participants_per_model(study),
        "missing": missing(study),
        "repeats": repeats(study),
        "reaction_times": reaction_times(study),
        "sessions": sessions(study),
        "by_participant": by_participant(study),
    }
    checks = [*_people_checks(study, results), *_material_checks(study, results), *_record_checks(results)]
    return Section(
        name="design", title="Checks of the design", results={**results, "checks": checks},
        blocks=tuple(_blocks(results, checks)),
    )  # fmt: skip


# ---- numbers ----


def catch_trials(study: Study) -> Row:
    """Returns how many catch trials of each kind were answered in the main phase, and how many rightly."""
    trials = study.export.trials
    main = trials[(trials["phase"] == "main").to_numpy()]
    found = {}
    for kind in ("gross", "instructed"):
        own = main["correct"].to_numpy()[(main["catch"] == kind).to_numpy()]
        found[kind] = {"trials": len(own), "right": int((own == 1).sum())}
    return found


def false_alarms(study: Study) -> Row:
    """Returns the distribution of participants' false-alarm rates; ``None`` where there are none."""
    cells = study.export.cells
    some = cells.trials[:, 0] > 0
    if study.export.task == "2afc" or not some.any():
        return {"participants": 0, "rate": None}
    rate = cells.yes[some, 0] / cells.trials[some, 0]
    low, median, high = (float(value) for value in np.quantile(rate, [0, 0.5, 1]))
    return {
        "participants": int(some.sum()), "without": int((~some).sum()), "trials": int(cells.trials[:, 0].sum()),
        "rate": {"least": low, "median": median, "most": high}, "above_half": int((rate > FALSE_ALARMS_HIGH).sum()),
    }  # fmt: skip


def ceiling(study: Study) -> list[Row]:
    """Returns the detection rate of each source model at its largest ε, and whether it anchors the lapse rate."""
    cells, rows = study.export.cells, []
    for index, name in enumerate(cells.models):
        cell = int(np.flatnonzero(cells.model == index)[-1])
        share = float(cells.yes[:, cell].sum() / cells.trials[:, cell].sum())
        rows.append({"model": name, "eps": float(cells.eps[cell]), "rate": share, "anchored": share >= ANCHOR})
    return rows


def pictures(study: Study) -> list[Row]:
    """Returns, by source model, pictures per ε and ε per picture: nested where each picture has one ε alone."""
    cells, answers, rows = study.export.cells, study.export.answers, []
    for index, name in enumerate(cells.models):
        own = cells.model[answers.cell] == index
        pairs = np.unique(np.stack([answers.cell[own].astype(np.int64), answers.picture[own].astype(np.int64)]), axis=1)
        per_level = np.unique(pairs[0], return_counts=True)[1]
        per_picture = np.unique(pairs[1], return_counts=True)[1]
        levels = int((cells.model == index).sum())
        rows.append(
            {
                "model": name, "levels": levels, "pictures": len(per_picture),
                "pictures_per_level": [int(per_level.min()), int(per_level.max())],
                "levels_per_picture": [int(per_picture.min()), int(per_picture.max())],
                "design": _design(per_picture, levels),
            }
        )  # fmt: skip
    return rows


def _design(per_picture: np.ndarray, levels: int) -> str:
    if levels == 1:
        return "one level"
    if per_picture.max() == 1:
        return "nested"
    return "crossed" if per_picture.min() == levels else "partly crossed"


def participants_per_model(study: Study) -> list[Row]:
    """Returns how many participants saw each source model, and the least and most answers that one gave to it."""
    cells, rows = study.export.cells, []
    for index, name in enumerate(cells.models):
        own = cells.trials[:, cells.model == index].sum(axis=1)
        rows.append({"model": name, "participants": int((own > 0).sum()), "of": len(own),
                     "answers": [int(own.min()), int(own.max())]})  # fmt: skip
    return rows


def missing(study: Study) -> Row:
    """Returns what is missing by ε, and whether it goes with ε.

    The export has a row an answered trial. A main trial that was seen and not answered was replaced by another one of
    its cell, which has a higher name: the last ``aborted_trials`` names of a session tell at which ε answers were lost.
    """
    trials, people = study.export.trials, study.export.people
    main = trials[(trials["phase"] == "main").to_numpy() & (trials["catch"] == "").to_numpy()]
    known = "aborted_trials" in people
    lost = _stand_ins(main, people) if known else np.zeros(len(main), dtype=bool)
    eps, person = main["eps_asked"].to_numpy(), pd.factorize(main["session_id"])[0]
    untimed = np.isnan(main["rt_ms"].to_numpy())
    by_eps = [
        {"eps": float(level), "answered": int((eps == level).sum()), "replaced": int(lost[eps == level].sum()),
         "without_time": int(untimed[eps == level].sum())}
        for level in np.unique(eps)
    ]  # fmt: skip
    return {
        "replacement_known": known, "by_eps": by_eps, "replaced": int(lost.sum()), "without_time": int(untimed.sum()),
        "replaced_by_eps": trend(eps, lost, person), "without_time_by_eps": trend(eps, untimed, person),
    }  # fmt: skip


def _stand_ins(main: pd.DataFrame, people: pd.DataFrame) -> np.ndarray:
    lost = pd.to_numeric(people["aborted_trials"], errors="coerce").fillna(0).astype(int)
    count = main["session_id"].astype(object).map(dict(zip(people["session_id"], lost, strict=True))).to_numpy()
    rank = main.groupby("session_id", observed=True)["trial_index"].rank(method="first", ascending=False).to_numpy()
    found: np.ndarray = rank <= count
    return found


def trend(eps: Floats, event: NDArray[np.bool_], person: NDArray[np.int64]) -> Row | None:
    """Returns z and p of a trend of a share over the rank of ε; ``None`` where there are too few events.

    Cochran and Armitage's test within participants (Mantel 1963): each is compared with its own mean over what it was
    shown, so that neither who loses more answers nor who was shown which ε passes for a trend.

    Args:
        eps: of each trial, [N].
        event: whether it happened, [N].
        person: index of the participant, [N].
    """
    if not FEWEST_EVENTS <= event.sum() <= len(event) - FEWEST_EVENTS:
        return None
    score = np.unique(eps, return_inverse=True)[1].astype(float)
    n = np.bincount(person)
    events = np.bincount(person, event)
    own = score - (np.bincount(person, score) / n)[person]
    spread = np.bincount(person, own**2) * events * (n - events) / np.maximum(n * (n - 1), 1)
    if spread.sum() == 0:
        return None
    z = (own * event).sum() / np.sqrt(spread.sum())
    return {"z": float(z), "p": float(2 * norm.sf(abs(z)))}


def repeats(study: Study) -> Row:
    """Returns how many answers are to a stimulus that the same participant had judged before, perturbed or reference.

    Rows that are there twice are refused when the export is read.
    """
    answers = study.export.answers
    pairs = pd.DataFrame({"participant": answers.participant, "stimulus": answers.stimulus})
    again = pairs.duplicated().to_numpy()
    signal = study.export.cells.eps[answers.cell] > 0
    return {"duplicate_rows": 0, "perturbed": int((again & signal).sum()), "references": int((again & ~signal).sum())}


def reaction_times(study: Study) -> Row:
    """Returns how many reaction times lie outside the plan's limits."""
    rt, plan = study.export.answers.rt_ms, study.plan
    return {
        "answers": len(rt), "below": int((rt < plan.rt_min_ms).sum()), "above": int((rt > plan.rt_max_ms).sum()),
        "unknown": int(np.isnan(rt).sum()), "rt_min_ms": plan.rt_min_ms, "rt_max_ms": plan.rt_max_ms,
    }  # fmt: skip


def sessions(study: Study) -> Row:
    """Returns how many sessions have each status and each reason code of being left out."""
    people = study.export.people
    reasons = people["excluded"][people["excluded"] != ""]
    return {
        "status": {str(key): int(value) for key, value in sorted(people["status"].value_counts().items())},
        "left_out": {str(key): int(value) for key, value in sorted(reasons.value_counts().items())},
    }


def by_participant(study: Study) -> list[Row]:
    """Returns a row a participant with answers, also of those left out: what the checks say of each."""
    export = study.export
    frame = pd.DataFrame(
        {
            "participant": export.trials["participant_id"],
            "main": (export.trials["phase"] == "main").to_numpy(),
            "kept": export.kept,
            "check": (export.trials["catch"] != "").to_numpy() & (export.trials["phase"] == "main").to_numpy(),
            "failed": export.trials["correct"].to_numpy() == 0,
            "slow": (export.trials["rt_ms"] > study.plan.rt_max_ms).to_numpy(),
            "fast": (export.trials["rt_ms"] < study.plan.rt_min_ms).to_numpy(),
        }
    )
    frame["failed"] &= frame["check"]
    frame["outside"] = (frame["slow"] | frame["fast"]) & frame["kept"]
    sums = frame.groupby("participant", observed=True)[["main", "kept", "check", "failed", "outside"]].sum()
    place = {name: index for index, name in enumerate(export.cells.participants)}
    known = export.people.drop_duplicates("participant_id").set_index("participant_id")[["status", "excluded"]]
    return [_person(study, str(name), sums.loc[name], place, known) for name in sorted(sums.index)]


def _person(study: Study, name: str, sums: pd.Series, place: dict[str, int], known: pd.DataFrame) -> Row:
    cells, rate = study.export.cells, None
    if name in place and cells.trials[place[name], 0] > 0:
        rate = float(cells.yes[place[name], 0] / cells.trials[place[name], 0])
    status, code = (str(value) for value in known.loc[name]) if name in known.index else ("unknown", "")
    return {
        "participant": name, "answers": int(sums["main"]), "in_analysis": int(sums["kept"]), "false_alarm_rate": rate,
        "checks": int(sums["check"]), "checks_failed": int(sums["failed"]), "rt_outside": int(sums["outside"]),
        "status": status, "reason_code": code,
    }  # fmt: skip


# ---- verdicts and words ----


def _check(check: str, found: str, verdict: Verdict) -> Row:
    return {"check": check, "found": found, "verdict": verdict}


def _people_checks(study: Study, results: Row) -> list[Row]:
    kinds = [(kind, row) for kind, row in results["catch_trials"].items() if row["trials"]]
    said = "; ".join(f"{kind}: {row['right']} of {row['trials']} right" for kind, row in kinds)
    wrong = any(row["right"] < ANCHOR * row["trials"] for _, row in kinds)
    checks = [_check("catch trials", said or "none", ("look" if wrong else "ok") if kinds else "missing")]
    alarms = results["false_alarms"]
    if study.export.task == "2afc" and not study.export.answers.side.any():
        return [*checks, _check("side", "the table does not say where the right answer stood", "missing")]
    if study.export.task == "2afc":
        left = float(study.export.answers.picked_left.mean())
        return [*checks, _check("side", f"left was chosen in {percent(left)} of the answers; 2afc has no false alarms",
                                "ok" if abs(left - 0.5) < SIDE_BIAS else "look")]  # fmt: skip
    if alarms["rate"] is None:
        return [*checks, _check("false alarms", "no unperturbed picture was shown alone", "missing")]
    rate = alarms["rate"]
    said = (
        f"median {percent(rate['median'])}, from {percent(rate['least'])} to {percent(rate['most'])} in "
        f"{plural(alarms['participants'], 'participant')}; above one half in {alarms['above_half']}"
    )
    if alarms["without"]:
        said += f"; {alarms['without']} saw no unperturbed picture"
    return [*checks, _check("false alarms", said, "look" if alarms["above_half"] or alarms["without"] else "ok")]


def _material_checks(study: Study, results: Row) -> list[Row]:
    tops = results["ceiling"]
    said = "; ".join(f"{row['model']}: {percent(row['rate'])} at ε = {row['eps']:g}" for row in tops)
    checks = [_check("ceiling (lapse anchor)", said, "ok" if all(row["anchored"] for row in tops) else "look")]
    for row in results["pictures"]:
        low, high = row["levels_per_picture"]
        fewest, most = row["pictures_per_level"]
        said = (
            f"{plural(row['pictures'], 'picture')}, {_span(fewest, most)} at each of {plural(row['levels'], 'level')} "
            f"of ε, each picture at {_span(low, high)}: {row['design']}"
        )
        verdict: Verdict = "look" if row["design"] in ("nested", "one level") else "ok"
        checks.append(_check(f"pictures of {row['model']}", said, verdict))
    shown = results["participants_per_model"]
    said = "; ".join(f"{row['model']}: {row['participants']} of {row['of']}" for row in shown)
    whole = all(row["participants"] == row["of"] for row in shown)
    checks.append(_check("participants per source model", said, "ok" if whole else "look"))
    if not study.export.selected_on:
        return [*checks, _check("choice of pictures", "not known: there is no manifest of stimuli", "missing")]
    if study.export.selected_on != ("none",):
        said = f"pictures were kept because they fool their source models ({', '.join(study.export.selected_on)})"
        checks.append(_check("choice of pictures", said, "look"))
    return checks


def _record_checks(results: Row) -> list[Row]:
    gone, again, times = results["missing"], results["repeats"], results["reaction_times"]
    outside = times["below"] + times["above"]
    said = (
        f"{thousands(outside)} of {thousands(times['answers'])} outside {times['rt_min_ms']:g} to "
        f"{times['rt_max_ms']:g} ms, {thousands(times['unknown'])} unknown"
    )
    state = results["sessions"]
    left = ", ".join(f"{code} {count}" for code, count in state["left_out"].items()) or "nobody"
    statuses = ", ".join(f"{name} {count}" for name, count in state["status"].items())
    doubled = f"no row twice; answers to a picture judged before: {thousands(again['perturbed'])} perturbed, "
    return [
        _check("missing answers and ε", _missing_words(gone), _missing_verdict(gone)),
        _check("duplicates", f"{doubled}{thousands(again['references'])} not", "look" if again["perturbed"] else "ok"),
        _check("reaction times", said, "look" if outside > 0.05 * times["answers"] or times["unknown"] else "ok"),
        _check("sessions", statuses, "ok"),
        _check("left out by the researcher, by reason code", left, "ok"),
    ]


def _missing_words(gone: Row) -> str:
    if not gone["replacement_known"]:
        return "the export does not say which trials were seen and not answered"
    parts = []
    for name, said in (("replaced", "seen, not answered and replaced"), ("without_time", "without a time")):
        test = gone[f"{name}_by_eps"]
        tail = (
            "" if test is None else f" (trend over ε: z = {wording.number(test['z'])}, p {wording.p_value(test['p'])})"
        )
        parts.append(f"{thousands(gone[name])} {said}{tail}")
    return "; ".join(parts)


def _missing_verdict(gone: Row) -> Verdict:
    if not gone["replacement_known"]:
        return "missing"
    tests = [gone[name] for name in ("replaced_by_eps", "without_time_by_eps") if gone[name] is not None]
    return "look" if any(test["p"] < 0.05 for test in tests) else "ok"


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _blocks(results: Row, checks: list[Row]) -> list[Block]:
    looked = [row["check"] for row in checks if row["verdict"] != "ok"]
    text = "Nothing stands out." if not looked else f"Look before you read on: {', '.join(looked)}."
    blocks: list[Block] = [Paragraph(text=text, kind="result" if not looked else "note"), _check_table(checks)]
    if not any(row["trials"] for row in results["catch_trials"].values()):
        text = "Not estimable: how many participants attended, since no catch trial was shown."
        blocks.append(Paragraph(text=text, kind="refusal"))
    unanchored = [row["model"] for row in results["ceiling"] if not row["anchored"]]
    if unanchored:
        text = (
            f"Not estimable: the lapse rate from {', '.join(unanchored)}, where fewer than {percent(ANCHOR)} of the "
            "answers at the largest ε are right; lapses and a shallow slope look alike unless everybody sees some ε."
        )
        blocks.append(Paragraph(text=text, kind="refusal"))
    return [*blocks, _participant_table(results["by_participant"])]


def _check_table(checks: list[Row]) -> Table:
    return Table(
        name="design-checks",
        caption="Checks of the design, made before any result was looked at.",
        columns=(
            Column(head="check", show=lambda row: row["check"], row_head=True),
            Column(head="found", show=lambda row: row["found"]),
            Column(head="verdict", show=lambda row: SHOWN[row["verdict"]]),
        ),
        rows=checks,
    )


def _participant_table(rows: list[Row]) -> Table:
    def checks(row: Any) -> str:
        return f"{row['checks_failed']} of {row['checks']}"

    return Table(
        name="design-participants",
        caption="Participants: main trials answered and in the analysis, false-alarm rate in %, catch trials failed, "
        "reaction times outside the plan's limits, status, and the reason code of those whom a researcher left out.",
        columns=(
            Column(head="participant", show=lambda row: row["participant"], row_head=True),
            Column(head="answers", show=lambda row: thousands(row["answers"])),
            Column(head="in analysis", show=lambda row: thousands(row["in_analysis"])),
            Column(head="false alarms", show=lambda row: plain_percent(row["false_alarm_rate"])),
            Column(head="checks failed", show=checks),
            Column(head="times outside", show=lambda row: thousands(row["rt_outside"])),
            Column(head="status", show=lambda row: row["status"]),
            Column(head="reason code", show=lambda row: row["reason_code"] or wording.NONE),
        ),
        rows=rows,
    )
