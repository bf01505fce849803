"""The section "salient-regions": how annotators agree, how their maps differ from automatic ones, what training did.

Annotation sets come with their consensus (``python -m core.annotations consensus``); automatic maps are those that the
evaluated runs were trained with and keep in ``salience/``, or further annotation sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import region_comparison, salience_training
from analysis.blocks import Block, Column, Paragraph, Section, Table
from analysis.machine import record_file
from analysis.region_maps import Row, interval
from analysis.study import Study
from analysis.wording import number, percent, plural, thousands
from core import files
from core.annotations import sets
from core.annotations.sets import SetRecord
from core.errors import DataError

NAME, TITLE = "salient-regions", "What people find salient"
NO_SET = "Not estimable: nobody's regions are known, since no annotation set was given (--annotations)."


def section(study: Study, annotation_sets: Sequence[Path], evaluations: Sequence[Path]) -> Section:
    """Returns the section ``salient-regions``.

    Args:
        study: the study, whose evaluations say what training on each source did.
        annotation_sets: with their consensus; the first is compared with all other maps.
        evaluations: run directories or evaluation.json files, as ``--evaluations`` names them.

    Raises:
        DataError: an annotation set is not what its record says.
    """
    if not annotation_sets:
        refused = {"reason": "no_annotations", "message": NO_SET}
        return Section(
            name=NAME, title=TITLE, results={"not_estimable": refused}, blocks=(Paragraph(text=NO_SET, kind="refusal"),)
        )
    read = [(path, sets.read_record(path)) for path in annotation_sets]
    agreements = [_agreement(path, record) for path, record in read]
    directories = [file.parent for file in map(record_file, evaluations) if file is not None]
    compared, blocks = region_comparison.comparisons(study, read, directories)
    training = salience_training.rows_of(study, directories, [record for _, record in read])
    results: Row = {"sets": agreements, "comparisons": compared, "training": training}
    return Section(
        name=NAME,
        title=TITLE,
        results=results,
        blocks=(*_agreement_blocks(agreements), *blocks, *salience_training.blocks_of(training)),
        methods=_methods(results),
    )


# ---- agreement ----


def _agreement(path: Path, record: SetRecord) -> Row:
    """Returns what consensus wrote of a set, after checking that it is of this set."""
    if record.consensus is None:
        raise DataError(f"{path}: expected consensus maps; run python -m core.annotations consensus {path}")
    file = path / "agreement.json"
    if not file.is_file() or files.sha256_file(file) != record.tables.get("agreement.json"):
        raise DataError(f"{file}: expected the table that annotations.json names; run consensus again")
    table = files.read_json(file, DataError, "run python -m core.annotations consensus again")
    kept = ("overall", "over_annotators", "classes", "annotators", "pictures_with_one_annotator")
    return {
        "name": record.name, "sha256": record.sha256, "pictures": len(record.maps),
        "annotations": record.counts["annotations"], "people": record.counts["annotators"],
        "consensus": record.consensus, **{key: table[key] for key in kept},
    }  # fmt: skip


def _agreement_blocks(agreements: Sequence[Row]) -> list[Block]:
    first = agreements[0]
    text = (
        "Several people painted the regions of a picture that matter for recognising it, independently of each other. "
        "Dice and IoU say how much of two people's regions is shared (1 where both painted nothing); Krippendorff’s α "
        "and Fleiss’ κ take away what chance would share: 0 is chance, 1 is full agreement."
    )
    rows = [row | row["overall"] | {"annotated": row["pictures"]} for row in agreements]
    blocks: list[Block] = [*_robots(agreements), Paragraph(text=text), *map(_said, agreements), _sets_table(rows)]
    if first["classes"]:
        blocks.append(_groups("agreement-classes", "class", first["classes"], first["name"]))
    blocks.append(_annotators(first))
    return blocks


def _robots(agreements: Sequence[Row]) -> list[Block]:
    """Says of each set how many of its annotators were robots."""
    blocks: list[Block] = []
    for row in agreements:
        drew = [found["robot"] for found in row["annotators"].values()]
        if robots := sum(drew):
            who = "All" if robots == len(drew) else f"{thousands(robots)} of the {len(drew)}"
            text = (
                f"{who} annotators of {row['name']} are robots, programs that draw with a stated sloppiness. These "
                "numbers test the method; they say nothing about people."
            )
            blocks.append(Paragraph(text=text, kind="note"))
    return blocks


def _said(row: Row) -> Paragraph:
    overall, name = row["overall"], row["name"]
    if not overall["pictures"]:
        text = f"Not estimable: agreement in {name}, since no picture was annotated by two people."
        return Paragraph(text=text, kind="refusal")
    alpha = overall["alpha_pixels"]
    chance = "" if alpha["estimate"] is None else f", Krippendorff’s α over pixels {interval(alpha)}"
    return Paragraph(
        text=f"{name}: {plural(row['people'], 'annotator')}, {plural(row['pictures'], 'picture')}; two of them share a "
        f"Dice of {interval(overall['dice'])}{chance}.",
        kind="result",
    )


def _measures() -> tuple[Column, ...]:
    heads = {
        "dice": "Dice", "iou": "IoU", "alpha_pixels": "α (pixels)", "fleiss_kappa": "κ (pixels)",
        "alpha_areas": "α (areas)",
    }  # fmt: skip
    return tuple(Column(head=head, show=_shower(key)) for key, head in heads.items())


def _shower(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: interval(row[key])


def _sets_table(rows: Sequence[Row]) -> Table:
    columns = (
        Column(head="annotation set", show=lambda row: row["name"], row_head=True),
        Column(head="pictures", show=lambda row: thousands(row["annotated"])),
        Column(head="annotators", show=lambda row: thousands(row["people"])),
        *_measures(),
        Column(head="Dice, resampling annotators", show=lambda row: interval(row["over_annotators"].get("dice"))),
    )
    caption = (
        "Agreement, means over pictures with 95 % intervals that resample pictures (last column: annotators). Pixels: "
        "nominal α and κ; areas: interval α of the painted share."
    )
    kept = ("name", "sha256", "annotated", "people", "dice", "iou", "alpha_pixels", "fleiss_kappa", "alpha_areas")
    return Table(
        name="agreement",
        caption=caption,
        columns=columns,
        rows=[{key: row[key] for key in (*kept, "over_annotators")} for row in rows],
    )


def _groups(name: str, head: str, groups: Row, of: str) -> Table:
    return Table(
        name=name,
        caption=f"Agreement by {head} in {of}, with 95 % intervals that resample pictures.",
        columns=(
            Column(head=head, show=lambda row: row[head], row_head=True),
            Column(head="pictures", show=lambda row: thousands(row["pictures"])),
            *_measures(),
        ),
        rows=[{head: label, **measures} for label, measures in groups.items()],
    )


def _annotators(agreement: Row) -> Table:
    columns = (
        Column(head="annotator", show=lambda row: row["annotator"], row_head=True),
        Column(head="pictures", show=lambda row: thousands(row["annotations"])),
        Column(head="“nothing salient”", show=lambda row: thousands(row["none"])),
        Column(head="Dice with the others", show=lambda row: interval(row.get("dice"))),
        Column(head="IoU with the others", show=lambda row: interval(row.get("iou"))),
        Column(head="mean area", show=lambda row: percent(row["mean_area"])),
        Column(head="seconds a picture", show=lambda row: number(row["mean_seconds"], 1)),
    )
    rows = [{"annotator": name, **found} for name, found in agreement["annotators"].items()]
    caption = f"Each annotator of {agreement['name']} against the others on the same pictures; seconds are active time."
    return Table(name="annotators", caption=caption, columns=columns, rows=rows)


def _methods(results: Row) -> str:
    first = results["sets"][0]
    method = "STAPLE (Warfield et al. 2004)" if first["consensus"]["method"] == "staple" else "the share of annotators"
    text = (
        f"Salient regions were drawn by {plural(first['people'], 'annotator')} on "
        f"{plural(first['pictures'], 'picture')}; their consensus is {method}, salient above "
        f"{first['consensus']['threshold']:g}. Agreement is the mean Dice and IoU of pairs, Krippendorff’s α and "
        "Fleiss’ κ, with t intervals of Poisson-bootstrap errors over pictures."
    )
    if results["comparisons"]:
        text += (
            " Consensus and automatic maps were compared by IoU above each source’s threshold, Spearman’s ρ over "
            "pixels and area, with t intervals over pictures."
        )
    return text
