"""The raster rule against a pixel-by-pixel reading of it, and the laws of undo, redo and clear."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rng
from core.annotations.operations import Mark, Stroke, live, parse, parse_all
from core.annotations.raster import rasterise
from core.errors import DataError

WIDTH, HEIGHT = 13, 9
EIGHTHS = settings(max_examples=80, deadline=None, derandomize=True, database=None)
xs, ys = (st.integers(-8, 8 * side + 8).map(lambda n: n / 8) for side in (WIDTH, HEIGHT))
pairs = st.tuples(xs, ys)
sizes = st.integers(8, 64).map(lambda n: n / 8)


def stroke(points, size=3.0, tool="brush", pressures=None):
    rows = [[x, y, 10.0 * n, 0.5 if pressures is None else pressures[n]] for n, (x, y) in enumerate(points)]
    return {"tool": tool, "size": size, "points": rows, "pressure": pressures is not None}


def polygon(points, mode="add"):
    return {"tool": "polygon", "mode": mode, "points": [[x, y, n] for n, (x, y) in enumerate(points)]}


def box(points, mode="add"):
    return {"tool": "box", "mode": mode, "points": [[x, y, n] for n, (x, y) in enumerate(points)]}


def mark(tool):
    return {"tool": tool, "t_ms": 5}


def drawn(*values, width=WIDTH, height=HEIGHT):
    return rasterise(parse_all(values, width, height), width, height)


def by_pixel(inside):
    """Asks about each pixel's centre, in exact fractions."""
    half = Fraction(1, 2)
    return np.array([[inside(i + half, j + half) for i in range(WIDTH)] for j in range(HEIGHT)])


def near_line(points, size, x, y):
    """Whether the distance from the line to a point is at most the radius."""
    exact = [(Fraction(px), Fraction(py)) for px, py in points]
    for (ax, ay), (bx, by) in zip(exact, exact[1:] or exact, strict=False):
        square = (bx - ax) ** 2 + (by - ay) ** 2
        share = min(Fraction(1), max(Fraction(0), ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / (square or 1)))
        if (ax + share * (bx - ax) - x) ** 2 + (ay + share * (by - ay) - y) ** 2 <= (Fraction(size) / 2) ** 2:
            return True
    return False


def crossings_left(points, x, y):
    count = 0
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        if (ay <= y) != (by <= y):
            count += (
                Fraction(ax) + (y - Fraction(ay)) * (Fraction(bx) - Fraction(ax)) / (Fraction(by) - Fraction(ay)) <= x
            )
    return count


@EIGHTHS
@given(st.lists(pairs, min_size=1, max_size=5), sizes)
def test_a_stroke_paints_exactly_the_centres_within_its_radius_of_the_line(points, size):
    assert (drawn(stroke(points, size)) == by_pixel(lambda x, y: near_line(points, size, x, y))).all()


@EIGHTHS
@given(st.lists(pairs, min_size=3, max_size=7))
def test_a_polygon_paints_the_centres_with_an_odd_number_of_edges_at_or_left_of_them(points):
    assert (drawn(polygon(points)) == by_pixel(lambda x, y: crossings_left(points, x, y) % 2 == 1)).all()


@EIGHTHS
@given(pairs, pairs)
def test_a_box_paints_its_left_and_upper_edge_but_not_its_right_and_lower_one(one, two):
    (left, right), (top, bottom) = sorted((one[0], two[0])), sorted((one[1], two[1]))
    expected = by_pixel(lambda x, y: left <= x < right and top <= y < bottom)
    assert (drawn(box([one, two])) == expected).all()
    assert (drawn(polygon([(left, top), (right, top), (right, bottom), (left, bottom)])) == expected).all()


def reach(points, radii, x, y):
    """The most by which a disc along the line reaches past a point, by ternary search over the line."""
    best = -math.inf
    for n in range(max(1, len(points) - 1)):
        (a, b), (ra, rb) = (
            (points[n], points[min(n + 1, len(points) - 1)]),
            (radii[n], radii[min(n + 1, len(radii) - 1)]),
        )

        def past(s, a=a, b=b, ra=ra, rb=rb):
            return ra + s * (rb - ra) - math.hypot(a[0] + s * (b[0] - a[0]) - x, a[1] + s * (b[1] - a[1]) - y)

        low, high = 0.0, 1.0
        for _ in range(90):
            third = (high - low) / 3
            low, high = (low + third, high) if past(low + third) < past(high - third) else (low, high - third)
        best = max(best, past((low + high) / 2), past(0.0), past(1.0))
    return best


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(xs, ys, st.integers(0, 16).map(lambda n: n / 16)), min_size=1, max_size=4), sizes)
def test_a_stroke_with_pressure_is_the_union_of_discs_whose_radius_goes_linearly_from_point_to_point(points, size):
    line, pressures = [point[:2] for point in points], [point[2] for point in points]
    got = drawn(stroke(line, size, pressures=pressures))
    radii = [size / 2 * (0.5 + 0.5 * pressure) for pressure in pressures]
    for j in range(HEIGHT):
        for i in range(WIDTH):
            margin = reach(line, radii, i + 0.5, j + 0.5)
            assert abs(margin) < 1e-7 or got[j, i] == (margin > 0)


@EIGHTHS
@given(st.lists(pairs, min_size=1, max_size=4), sizes, st.lists(pairs, min_size=1, max_size=4), sizes)
def test_erasing_takes_away_what_a_brush_would_have_painted_and_nothing_else(one, size, two, other):
    painted, erased = drawn(stroke(one, size)), drawn(stroke(two, other))
    assert (drawn(stroke(one, size), stroke(two, other, "erase")) == (painted & ~erased)).all()
    assert (drawn(stroke(one, size), stroke(two, other)) == (painted | erased)).all()


drawings = st.one_of(
    st.lists(pairs, min_size=1, max_size=3).map(stroke),
    st.lists(pairs, min_size=3, max_size=4).map(polygon),
    st.tuples(pairs, pairs).map(box),
    st.just(mark("clear")),
)
records = st.lists(drawings, max_size=6)


@EIGHTHS
@given(records, drawings)
def test_undoing_the_last_operation_gives_what_was_there_before_it_and_redoing_brings_it_back(record, last):
    assert (drawn(*record, last, mark("undo")) == drawn(*record)).all()
    assert (drawn(*record, last, mark("undo"), mark("redo")) == drawn(*record, last)).all()


@EIGHTHS
@given(records)
def test_undoing_everything_and_more_leaves_nothing_and_redoing_it_all_brings_everything_back(record):
    undos = [mark("undo")] * (len(record) + 2)
    assert not drawn(*record, *undos).any()
    assert (drawn(*record, *undos, *[mark("redo")] * (len(record) + 2)) == drawn(*record)).all()


@EIGHTHS
@given(records, records)
def test_after_clear_only_what_follows_counts(before, after):
    assert (drawn(*before, mark("clear"), *after) == drawn(*after)).all()


@EIGHTHS
@given(records, drawings, drawings)
def test_a_new_operation_forgets_what_could_be_redone(record, undone, new):
    assert (drawn(*record, undone, mark("undo"), new, mark("redo")) == drawn(*record, new)).all()


def test_live_keeps_fifty_strokes_through_fifty_undos_and_redos():
    values = [stroke([(n % WIDTH, n % HEIGHT)]) for n in range(50)]
    record = parse_all([*values, *[mark("undo")] * 50, *[mark("redo")] * 50], WIDTH, HEIGHT)
    assert live(record) == record[:50]
    assert live(record[:100]) == ()
    assert all(isinstance(operation, Stroke) for operation in live(record[:75]))


def test_a_dab_of_three_pixels_is_a_cross_of_the_nine_minus_corners_and_the_edge_counts():
    assert drawn(stroke([(1.5, 1.5)], 2.0), width=3, height=3).tolist() == [
        [False, True, False], [True, True, True], [False, True, False],
    ]  # fmt: skip


def test_sixty_strokes_on_a_photograph_of_4000_pixels_take_well_under_a_second_and_give_the_same_twice():
    generator, side = rng.numpy_generator(1, "strokes"), 4000
    values = []
    for _ in range(60):
        walk = np.clip(np.cumsum(generator.normal(0, 25, (200, 2)), axis=0) + generator.uniform(0, side, 2), 0, side)
        values.append(stroke(walk.round(2).tolist(), float(generator.uniform(20, 120))))
    operations = parse_all(values, side, side)
    began = time.process_time()  # of this process alone: the machine may be busy with others
    mask = rasterise(operations, side, side)
    assert time.process_time() - began < 2  # about 0.4 s
    assert 0.02 < mask.mean() < 0.6
    assert (rasterise(operations, side, side) == mask).all()


def test_a_polygon_of_many_needles_is_filled_as_the_rule_says():
    points = [*((n * 0.15, 0 if n % 2 else 300) for n in range(2000)), (300, 301), (0, 301)]
    mask = drawn(polygon(points), width=300, height=300)
    for i, j in [(0, 150), (100, 100), (101, 100), (299, 12)]:
        assert mask[j, i] == crossings_left(points, i + Fraction(1, 2), j + Fraction(1, 2)) % 2


GOOD = stroke([(1, 1), (2, 2)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "operation: expected an object with a tool, got"),
        ({"tool": 3}, "operation: expected an object with a tool, got"),
        ({"tool": "brsh"}, "operation: tool: expected one of brush, .*, got 'brsh'; did you mean 'brush'?"),
        ({"tool": "spray"}, "operation: tool: expected one of brush, .*, got 'spray'; see docs/annotation.md"),
        (GOOD | {"colour": 1}, "brush: unknown key 'colour'; known keys: tool, size, points, pressure"),
        ({"tool": "undo"}, "undo: missing key 't_ms'"),
        ({"tool": "undo", "t_ms": math.inf}, "undo: t_ms: expected a finite number, got 'inf'"),
        ({"tool": "clear", "t_ms": -1}, "clear: t_ms: expected milliseconds from 0, got -1"),
        (GOOD | {"size": 0.25}, "brush: size: expected 0.5 to 13 picture pixels, got 0.25"),
        (GOOD | {"size": 14}, "brush: size: expected 0.5 to 13 picture pixels, got 14"),
        (GOOD | {"size": 10**400}, "brush: size: expected a finite number, got '1000"),
        (GOOD | {"size": True}, "brush: size: expected a finite number, got 'True'"),
        (GOOD | {"pressure": 1}, "brush: pressure: expected true or false, got '1'"),
        (GOOD | {"points": [[1, 1, 0, 1.5]]}, "brush: points: expected pressures from 0 to 1"),
        (GOOD | {"points": []}, "brush: points: expected a list of points"),
        (GOOD | {"points": [[1, 1, 0, 0]] * 20_001}, "brush: points: expected at most 20,000, got 20,001"),
        (GOOD | {"points": [[1, 1, 0]]}, r"brush: point 0: expected \[x, y, t_ms, pressure\]"),
        (GOOD | {"points": [[1, math.nan, 0, 0]]}, "brush: point 0: expected .* got '.1, nan"),
        (GOOD | {"points": [[1, 1, 5, 0], [1, 1, 4, 0]]}, "brush: points: expected times from 0 that do not fall"),
        (GOOD | {"points": [[-3.5, 1, 0, 0]]}, "brush: points: expected them in the picture of 13×9"),
        (box([(0, 0)]), "box: points: expected 2 opposite corners, got 1"),
        (polygon([(0, 0), (1, 1)]), "polygon: points: expected at least 3, got 2"),
        (polygon([(0, 0), (1, 1), (17, 1)]), "polygon: points: expected them in the picture of 13×9 pixels"),
        (box([(0, 0), (1, 1)], "xor"), "box: mode: expected 'add' or 'remove', got 'xor'"),
    ],
)  # fmt: skip
def test_what_is_no_operation_is_refused_with_one_message(value, message):
    with pytest.raises(DataError, match=message):
        parse(value, WIDTH, HEIGHT)


def test_the_message_names_the_operation_and_more_than_5000_are_refused():
    with pytest.raises(DataError, match="operation 1: undo: missing key 't_ms'"):
        parse_all([GOOD, {"tool": "undo"}], WIDTH, HEIGHT)
    with pytest.raises(DataError, match="operations: expected at most 5,000, got 5,001"):
        parse_all([mark("undo")] * 5001, WIDTH, HEIGHT)


def test_a_mark_keeps_its_time():
    assert parse(mark("redo"), WIDTH, HEIGHT) == Mark(tool="redo", t_ms=5.0)
