"""How people's consensus differs from other maps of the same pictures: sentences, tables and a grid of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from analysis import drawing, region_maps
from analysis.blocks import Block, Column, Figure, Paragraph, Table
from analysis.region_maps import Row, Source, interval
from analysis.study import Study
from analysis.wording import number, percent, plain_percent, plural, thousands
from core import picture_sets, pictures
from core.annotations.sets import SetRecord
from core.errors import RunError

NO_MAPS = (
    "Not estimable: how people's maps differ from automatic ones, since no evaluated run was trained on automatic maps "
    "of these pictures and no second annotation set has maps of them."
)
_SHOWN = 5  # pictures of the figure


def comparisons(
    study: Study, read: Sequence[tuple[Path, SetRecord]], directories: Sequence[Path]
) -> tuple[list[Row], list[Block]]:
    """Returns how the first set differs from every other source of maps, and the blocks that show it.

    Args:
        study: for bars.
        read: annotation sets with their records; the first is compared with the others and with runs' maps.
        directories: of the runs.
    """
    path, record = read[0]
    people = region_maps.of_set(path, record)
    shown = {picture.source_id: picture for picture in picture_sets.rows(path / "pictures.jsonl")}
    classes = {name: picture.source_class for name, picture in shown.items()}
    blocks: list[Block] = []
    try:
        others = region_maps.automatic(directories)
    except RunError as error:
        others = []
        blocks.append(Paragraph(text=f"Not estimable: how people's maps differ from a run's: {error}", kind="refusal"))
    others += [region_maps.of_set(other, its) for other, its in read[1:]]
    found: list[Row] = []
    figure: Figure | None = None
    for mine, other in region_maps.with_bar([(people, other) for other in others], study.progress):
        rows, left_out = region_maps.by_picture(mine, other, record, classes)
        if left_out:
            text = f"{plural(left_out, 'picture')} left out of the comparison with {other.name}: maps of another size."
            blocks.append(Paragraph(text=text, kind="note"))
        if rows:
            found.append(_compared(mine, other, rows))
            figure = figure or _figure(path, mine, other, rows, shown)
    if not found:
        return [], [*blocks, Paragraph(text=NO_MAPS, kind="refusal")]
    blocks += [_comparison_said(row) for row in found]
    blocks += [_comparison_table(found), _comparison_classes(found)]
    return found, [*blocks, figure] if figure else blocks


def _compared(people: Source, other: Source, rows: Sequence[Row]) -> Row:
    labels = sorted({row["source_class"] for row in rows})
    return {
        "people": people.name, "other": other.name, "threshold_people": people.threshold,
        "threshold_other": other.threshold,
        **region_maps.summarised(rows),
        "classes": {
            label: region_maps.summarised([row for row in rows if row["source_class"] == label])
            for label in labels
        },
    }  # fmt: skip


def _comparison_said(row: Row) -> Paragraph:
    text = (
        f"{row['people']} against {row['other']} on {plural(row['pictures'], 'picture')}: what both call salient has "
        f"an IoU of {interval(row['iou'])}, the maps a rank correlation of {interval(row['rank_correlation'])}; people "
        f"mark {percent(row['area_people']['estimate'])} of a picture, the other source "
        f"{percent(row['area_other']['estimate'])}."
    )
    return Paragraph(text=text, kind="result")


def _differences() -> tuple[Column, ...]:
    return (
        Column(head="pictures", show=lambda row: thousands(row["pictures"])),
        Column(head="IoU", show=lambda row: interval(row["iou"])),
        Column(head="rank correlation", show=lambda row: interval(row["rank_correlation"])),
        Column(head="people’s area, %", show=lambda row: interval(row["area_people"], plain_percent)),
        Column(head="other area, %", show=lambda row: interval(row["area_other"], plain_percent)),
        Column(head="difference, points", show=lambda row: interval(row["area_difference"], plain_percent)),
    )


def _comparison_table(found: Sequence[Row]) -> Table:
    columns = (
        Column(head="maps", show=lambda row: f"{row['other']} (τ = {row['threshold_other']:g})", row_head=True),
        *_differences(),
    )
    caption = (
        f"How the consensus of {found[0]['people']} (τ = {found[0]['threshold_people']:g}) differs from other maps of "
        "the same pictures: IoU of the pixels above each threshold, Spearman’s ρ over pixels, areas; means over "
        "pictures with 95 % t intervals."
    )
    rows = [{key: value for key, value in row.items() if key != "classes"} for row in found]
    return Table(name="maps", caption=caption, columns=columns, rows=rows)


def _comparison_classes(found: Sequence[Row]) -> Table:
    columns = (
        Column(head="class", show=lambda row: row["class"], row_head=True),
        Column(head="maps", show=lambda row: row["other"]),
        *_differences(),
    )
    rows = [
        {"class": label, "other": row["other"], **measures}
        for row in found
        for label, measures in row["classes"].items()
    ]
    return Table(name="maps-classes", caption="The same by class.", columns=columns, rows=rows)


def _figure(
    path: Path, people: Source, other: Source, rows: Sequence[Row], shown: dict[str, picture_sets.Picture]
) -> Figure:
    """Draws pictures from the least to the greatest overlap, evenly spread."""
    order = sorted(rows, key=lambda row: (row["iou"], row["source_id"]))
    places = sorted({round(place) for place in np.linspace(0, len(order) - 1, min(_SHOWN, len(order)))})
    chosen = [order[place] for place in places]
    title = f"People’s consensus and {other.name}"
    described = "; ".join(f"{row['source_id']}: IoU {number(row['iou'])}" for row in chosen)
    with drawing.ink():
        figure = Drawing(figsize=(7.2, 1.75 * len(chosen)))
        axes = figure.subplots(len(chosen), 4, squeeze=False)
        for line, row in zip(axes, chosen, strict=True):
            mine, theirs = people.levels(row["source_id"]), other.levels(row["source_id"])
            assert mine is not None
            assert theirs is not None
            panels = (_picture(path, shown[row["source_id"]]), mine, theirs, theirs.astype(np.int16) - mine)
            for axis, panel, colours in zip(line, panels, ("gray", "gray", "gray", "PuOr"), strict=True):
                low = -255 if colours == "PuOr" else 0
                axis.imshow(panel, cmap=colours, vmin=low, vmax=255, interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
            line[0].set_ylabel(f"IoU {number(row['iou'])}", fontsize=9)
        for axis, head in zip(axes[0], ("picture", "people", "other", "difference"), strict=True):
            axis.set_title(head, fontsize=10)
        figure.tight_layout(pad=0.4)
        svg = drawing.svg(figure, "maps-grid", title, f"A grid of pictures with both maps. {described}")
    return Figure(
        name="maps-grid",
        title=title,
        description=f"Pictures with both maps and their difference, least overlap first: {described}.",
        caption=f"White is salient. Difference: violet where {other.name} is higher, orange where people are. Pictures "
        "are spread evenly from the least to the greatest IoU.",
        svg=svg,
        table=_shown_table(chosen),
    )


def _shown_table(chosen: Sequence[Row]) -> Table:
    columns = (
        Column(head="picture", show=lambda row: row["source_id"], row_head=True),
        Column(head="IoU", show=lambda row: number(row["iou"])),
        Column(head="rank correlation", show=lambda row: number(row["rank_correlation"])),
        Column(head="people’s area", show=lambda row: percent(row["area_people"])),
        Column(head="other area", show=lambda row: percent(row["area_other"])),
    )
    return Table(name="maps-grid", caption="The pictures that are shown.", columns=columns, rows=list(chosen))


def _picture(path: Path, picture: picture_sets.Picture) -> NDArray[np.uint8]:
    """Returns a picture of the set, or plain grey where the set holds no pictures."""
    file = path / picture_sets.png_name(picture.sha256)
    if file.is_file():
        return pictures.read(file)
    return np.full((picture.height, picture.width, 3), 128, dtype=np.uint8)
