"""The report as a tagged PDF (PDF/UA-1), typeset by typst from the same outline as the page."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl

from analysis.document import tables_of
from analysis.pdf_headers import mark_row_heads

logger = logging.getLogger(__name__)

STANDARD = "ua-1"
MISSING = "report.pdf: not written, since typst cannot be imported; the page is complete (pip install typst)"


def engine() -> ModuleType | None:
    """Returns typst, or ``None`` where it cannot be imported."""
    try:
        return importlib.import_module("typst")
    except ImportError:
        return None


def typeset(typst: ModuleType, outline: dict[str, Any], templates: Path) -> bytes:
    """Returns the PDF of an outline; the same outline gives the same bytes.

    Text is set in the fonts that typst carries, drawings in the one that matplotlib carries and measured with. No
    font of the machine is used and no clock is read.
    """
    pdf = typst.compile(
        str(templates / "report.typ"),
        root=str(templates),
        font_paths=[str(Path(mpl.get_data_path()) / "fonts" / "ttf")],
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs={"report": json.dumps(outline, ensure_ascii=False)},
        pdf_standards=STANDARD,
        timestamp=0,
    )
    return _with_row_heads(bytes(pdf), outline)


def _with_row_heads(pdf: bytes, outline: dict[str, Any]) -> bytes:
    """The PDF with tagged row headers; as it was where another typst builds it in another way."""
    try:
        return mark_row_heads(pdf, [table["row_heads"] for table in tables_of(outline)])
    except ValueError as error:
        logger.warning("report.pdf: the cells that name rows are not tagged as headers: %s", error)
        return pdf
