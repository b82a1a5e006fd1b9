"""Charts draw the data that they get: the tests read positions back by means of the drawn ticks alone."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from aemim_mm.report import Chart, Curve
from aemim_mm.report.charts import MAX_HOVER
from aemim_mm.report.page import render_section, render_svg

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
    svg = parse(render_section(chart(*curves, log_y=log_y))).find('svg')[0]
    polylines = svg.find('polyline')
    assert len(polylines) == 2
    for curve, polyline in zip(curves, polylines, strict=True):
        found_x, found_y = read_back(svg, polyline, log_y=log_y)
        np.testing.assert_allclose(found_x, curve.x, atol=0.01)
        # A position has two decimals, and the axis is about 300 drawing units long.
        np.testing.assert_allclose(found_y, curve.y, rtol=2e-4 if log_y else 0, atol=0 if log_y else 1e-4)


def test_a_gap_splits_the_line_and_a_lone_point_is_a_dot(parse):
    curve = Curve('loss', range(7), [5, 4, NAN, 3, math.inf, 2, 1])
    svg = parse(render_section(chart(curve))).find('svg')[0]
    assert [len(line.attrs['points'].split()) for line in svg.find('polyline')] == [2, 2]
    dots = {(dot.attrs['cx'], dot.attrs['cy']) for dot in svg.find('circle', 'dot')}
    assert len(dots) == 5
    ends = {tuple(pair.split(',')) for line in svg.find('polyline') for pair in line.attrs['points'].split()}
    assert len(dots - ends) == 1


@pytest.mark.parametrize('log_y', [False, True])
@pytest.mark.parametrize('y', [[0.25], [0.25, 0.25, 0.25], [1.0]])
def test_one_point_and_constant_values_stand_inside_the_plot(parse, y, log_y):
    curve = Curve('loss', range(3, 3 + len(y)), y)
    svg = parse(render_section(chart(curve, log_y=log_y))).find('svg')[0]
    _, y_axis = chart(curve, log_y=log_y).axes()
    for dot in svg.find('circle', 'dot'):
        assert y_axis.end < float(dot.attrs['cy']) < y_axis.start
    assert any(number(node) == 3 for node in svg.find('text', 'x') if 'tick' in node.attrs['class'])


@pytest.mark.parametrize('curves', [[], [Curve('a', [], [])], [Curve('a', [1, 2], [NAN, NAN])]])
def test_nothing_to_draw_is_said(parse, curves):
    page = parse(render_section(chart(*curves)))
    assert not page.find('svg')
    assert page.text.strip() == 'No values were recorded for this chart.'


@pytest.mark.parametrize('value', [0.0, -1.5])
def test_a_log_axis_refuses_what_it_cannot_show(value):
    with pytest.raises(ValueError, match=rf"'adv'.*got y = {value:g}, expected y > 0.*log_y=False"):
        chart(Curve('clean', [1], [1]), Curve('adv', [1, 2, 3], [1, NAN, value]), log_y=True)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match=r'3 x values and 2 y values.*NaN'):
        Curve('clean', [1, 2, 3], [1, 2])


def test_hover_shows_the_values_always_with_the_last(parse):
    x = np.arange(1000)
    svg = parse(render_section(chart(Curve('clean', x, 1000.0 - x)))).find('svg')[0]
    titles = [circle.find('title')[0].text for circle in svg.find('circle', 'hit')]
    assert 'clean: 1 at epoch 999' in titles
    assert MAX_HOVER / 2 < len(titles) <= MAX_HOVER


@pytest.mark.parametrize('limit', [8, 100])
def test_a_thinned_curve_keeps_ends_peaks_and_gaps(limit):
    y = np.random.default_rng(0).normal(size=5000)
    y[[700, 4100]] = 50, -50
    y[2000:2600] = NAN
    y[4500] = math.inf
    whole = Curve('loss', list(range(5000)), y.tolist())
    thin = whole.thinned(limit)
    assert limit / 2 < len(thin.x) <= limit and list(thin.x) == sorted(set(thin.x))
    np.testing.assert_array_equal(thin.y, y[thin.x])
    assert {0, 700, 4100, 4999} <= set(thin.x) and not np.isfinite(thin.y).all()
    assert Curve('loss', whole.x[:limit], whole.y[:limit]).thinned(limit).x == whole.x[:limit]
    if limit == 100:
        # The gap is where it was, and each stretch has its lowest and highest value.
        assert [run[-1][0] < 2000 or run[0][0] >= 2600 for run in thin.runs()] == [True] * len(thin.runs())
        stretch = np.array_split(np.arange(1, 4999), 32)[3]
        kept = [i for i in thin.x if i in stretch]
        assert sorted(y[kept]) == [y[stretch].min(), y[stretch].max()]


def test_curves_differ_in_dash_as_well_as_in_colour(parse):
    curves = [Curve(str(i), [0, 1], [i, i + 1]) for i in range(30)]
    page = parse(render_section(chart(*curves)))
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
    items = parse(render_section(chart(Curve('clean', [1, 2, 3], [0.9, 0.5, 0.25]), Curve('none', [], [])))).find('li')
    assert [' '.join(item.text.split()) for item in items] == ['clean 0.9 → 0.25', 'none no values']


def test_end_labels_keep_their_distance_and_their_order(parse):
    curves = [Curve(f'c{i}', [0, 1], [0, y]) for i, y in enumerate([0.50, 0.51, 0.52, 3.0])]
    _, y_axis = chart(*curves).axes()
    labels = parse(render_section(chart(*curves))).find('text', 'end')
    places = [float(label.attrs['y']) for label in labels]
    assert [label.text for label in labels] == ['c3', 'c2', 'c1', 'c0']
    assert np.diff(places).min() >= 15 - 0.02
    # The lone label stands at its value. The mean position of the others is the mean of their values.
    assert places[0] == pytest.approx(y_axis(3.0), abs=0.01)
    assert np.mean(places[1:]) == pytest.approx(y_axis(0.51), abs=0.01)


def test_the_file_holds_the_drawing_of_the_page(parse):
    """The file is well-formed XML, has room for the labels, and needs no other style sheet."""
    made = chart(Curve('clean <b>', [1, 2, 3], [0.9, 0.5, 0.25]), Curve('adv', [1, 2, 3], [0.8, NAN, 0.3]))
    text = render_svg(made)
    root = ElementTree.fromstring(text)
    assert root.tag == '{http://www.w3.org/2000/svg}svg' and float(root.attrib['viewBox'].split()[2]) > 600 + 9 * 6
    (drawing,) = parse(text).find('svg')[0].find('svg')
    (on_page,) = (svg for svg in parse(render_section(made)).find('svg') if 'role' in svg.attrs)
    assert [(node.tag, node.attrs, node.text) for node in drawing.walk()] == [
        (node.tag, node.attrs, node.text) for node in on_page.walk()
    ]
    assert 'var(' not in text and '.c0 { color: #0063a8; }' in text
