"""Charts draw the data they are given: positions are read back with the help of the drawn ticks only."""

import math

import numpy as np
import pytest

from aemim_mm.report import Chart, Curve
from aemim_mm.report.charts import MAX_HOVER, end_labels, make_axes, render_chart

NAN = float('nan')


def chart(*curves, **settings):
    return Chart('Loss', 'What to see.', 'epoch', 'loss', curves, **settings)


def number(node):
    return float(node.text.replace(',', ''))


def read_back(svg, polyline, *, log_y=False):
    """Return the data of a polyline, from the positions and the labels of the ticks."""
    points = np.array([pair.split(',') for pair in polyline.attrs['points'].split()], float)
    data = []
    for column, (kind, place) in enumerate((('x', 'x'), ('y', 'y'))):
        ticks = [node for node in svg.find('text', 'tick') if kind in node.attrs['class'].split()]
        values = np.array([number(node) for node in ticks])
        values = np.log(values) if log_y and kind == 'y' else values
        slope, start = np.polyfit([float(node.attrs[place]) for node in ticks], values, 1)
        data.append(start + slope * points[:, column])
    return data[0], np.exp(data[1]) if log_y else data[1]


@pytest.mark.parametrize('log_y', [False, True])
def test_polylines_map_back_to_the_data(parse, log_y):
    x = np.arange(1, 201)
    curves = [Curve('clean', x, 1 / np.sqrt(x)), Curve('adversarial', x, 2 / x)]
    svg = parse(render_chart(chart(*curves, log_y=log_y))).find('svg')[0]
    polylines = svg.find('polyline')
    assert len(polylines) == 2
    for curve, polyline in zip(curves, polylines, strict=True):
        found_x, found_y = read_back(svg, polyline, log_y=log_y)
        np.testing.assert_allclose(found_x, curve.x, atol=0.01)
        # A position has two decimals, of some 300 drawing units.
        np.testing.assert_allclose(found_y, curve.y, rtol=2e-4 if log_y else 0, atol=0 if log_y else 1e-4)


def test_a_gap_splits_the_line_and_a_lone_point_is_a_dot(parse):
    curve = Curve('loss', range(7), [5, 4, NAN, 3, math.inf, 2, 1])
    svg = parse(render_chart(chart(curve))).find('svg')[0]
    assert [len(line.attrs['points'].split()) for line in svg.find('polyline')] == [2, 2]
    dots = {(dot.attrs['cx'], dot.attrs['cy']) for dot in svg.find('circle', 'dot')}
    assert len(dots) == 5
    ends = {tuple(pair.split(',')) for line in svg.find('polyline') for pair in line.attrs['points'].split()}
    assert len(dots - ends) == 1


@pytest.mark.parametrize('log_y', [False, True])
@pytest.mark.parametrize('y', [[0.25], [0.25, 0.25, 0.25], [1.0]])
def test_one_point_and_constant_values_stand_inside_the_plot(parse, y, log_y):
    curve = Curve('loss', range(3, 3 + len(y)), y)
    svg = parse(render_chart(chart(curve, log_y=log_y))).find('svg')[0]
    y_axis = make_axes(curve.points(), log_y=log_y)[1]
    for dot in svg.find('circle', 'dot'):
        assert y_axis.end < float(dot.attrs['cy']) < y_axis.start
    assert any(number(node) == 3 for node in svg.find('text', 'x') if 'tick' in node.attrs['class'])


@pytest.mark.parametrize('curves', [[], [Curve('a', [], [])], [Curve('a', [1, 2], [NAN, NAN])]])
def test_nothing_to_draw_is_said(parse, curves):
    page = parse(render_chart(chart(*curves)))
    assert not page.find('svg')
    assert page.text == 'No values were recorded for this chart.'


@pytest.mark.parametrize('value', [0.0, -1.5])
def test_a_log_axis_refuses_what_it_cannot_show(value):
    with pytest.raises(ValueError, match=rf"'adv'.*got y = {value:g}, expected y > 0.*log_y=False"):
        chart(Curve('clean', [1], [1]), Curve('adv', [1, 2, 3], [1, NAN, value]), log_y=True)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match=r'3 x values and 2 y values.*NaN'):
        Curve('clean', [1, 2, 3], [1, 2])


def test_hover_shows_the_values_always_with_the_last(parse):
    x = np.arange(1000)
    svg = parse(render_chart(chart(Curve('clean', x, 1000.0 - x)))).find('svg')[0]
    titles = [circle.find('title')[0].text for circle in svg.find('circle', 'hit')]
    assert 'clean: 1 at epoch 999' in titles
    assert MAX_HOVER / 2 < len(titles) <= MAX_HOVER


def test_curves_differ_in_dash_as_well_as_in_colour(parse):
    curves = [Curve(str(i), [0, 1], [i, i + 1]) for i in range(30)]
    page = parse(render_chart(chart(*curves)))
    looks = []
    for item in page.find('ul', 'legend')[0].find('li'):
        sample = item.find('svg')[0]
        looks.append((sample.attrs['class'], sample.find('polyline')[0].attrs.get('stroke-dasharray')))
    drawn = [
        (line.parent.attrs['class'], line.attrs.get('stroke-dasharray'))
        for line in page.find('svg')[0].find('polyline')
    ]
    assert looks == drawn
    assert len(set(looks)) == 30
    assert len({dash for _, dash in looks[:5]}) == 5


def test_the_legend_gives_first_and_last_value(parse):
    items = parse(render_chart(chart(Curve('clean', [1, 2, 3], [0.9, 0.5, 0.25]), Curve('none', [], [])))).find('li')
    assert [' '.join(item.text.split()) for item in items] == ['clean 0.9 → 0.25', 'none no values']


def test_end_labels_keep_their_distance_and_their_order(parse):
    curves = [Curve(f'c{i}', [0, 1], [0, y]) for i, y in enumerate([0.50, 0.51, 0.52, 3.0])]
    y_axis = make_axes([point for curve in curves for point in curve.points()])[1]
    labels = parse('\n'.join(end_labels(list(enumerate(curves)), y_axis))).find('text')
    places = [float(label.attrs['y']) for label in labels]
    assert [label.text for label in labels] == ['c3', 'c2', 'c1', 'c0']
    assert np.diff(places).min() >= 15 - 0.02
    # The lone label stands at its value; the others are centred on theirs.
    assert places[0] == pytest.approx(y_axis(3.0), abs=0.01)
    assert np.mean(places[1:]) == pytest.approx(y_axis(0.51), abs=0.01)
