"""Rows of logs: all starts of a training in order, without what was repeated or is half written."""

from helpers.logged import row, write_start

from aemim_mm.report.scalars import read_rows, read_scalars


def test_a_resumed_training_replaces_what_it_repeats_of_every_kind(tmp_path):
    tested = [{'accuracy/top1': 10.0 * epoch, 'step': epoch} for epoch in (1, 2, 3)]
    write_start(tmp_path, row(4), tested[0], row(8), tested[1], row(12), start='1')
    write_start(tmp_path, row(8, again=True), tested[2], row(12, again=True), start='2')
    assert read_rows(tmp_path) == [row(4), tested[0], row(8, again=True), tested[2], row(12, again=True)]


def test_a_training_from_the_start_replaces_all(tmp_path):
    begun = {'instruments/rank': 3.0, 'step': 0}
    write_start(tmp_path, row(10), row(20), {'accuracy/top1': 9.0, 'step': 1}, start='1')
    write_start(tmp_path, begun, row(10, again=True), start='2')
    assert read_rows(tmp_path) == [begun, row(10, again=True)]


def test_a_third_start_sees_the_rows_that_began_the_second(tmp_path):
    begun = {'instruments/rank': 3.0, 'step': 1}
    write_start(tmp_path, row(10), row(20), start='1')
    write_start(tmp_path, begun, row(20, again=True), row(30), start='2')
    write_start(tmp_path, row(20, again=2), start='3')
    assert read_rows(tmp_path) == [row(10), row(20, again=2)]
    (tmp_path / '3/vis_data/scalars.json').write_text('')
    assert read_rows(tmp_path) == [row(10), begun, row(20, again=True), row(30)]


def test_lines_that_are_not_whole_are_left_out(tmp_path):
    write_start(tmp_path, row(1), row(2), start='1', end='{"loss": 0.5, "iter": 3')
    write_start(tmp_path, row(3), start='2', end='null\n\x00\x00\n{"loss": 0.5}\n')
    assert read_rows(tmp_path) == [row(1), row(2), row(3)]
    assert read_scalars(tmp_path)['loss'] == ((1, 2, 3), (1.0, 1 / 2, 1 / 3))


def test_no_log_has_no_rows(tmp_path):
    assert read_rows(tmp_path) == [] and read_scalars(tmp_path) == {}
