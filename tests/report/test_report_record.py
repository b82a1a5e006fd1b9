"""Records of measurements, their machine, and tables in Markdown."""

import json
import subprocess
import sys

import pytest
import torch

from aemim_mm.errors import UserError
from aemim_mm.report import machine, record
from aemim_mm.report.table import markdown_table
from aemim_mm.version import __version__


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one commit, which takes the place of the project's."""
    root = tmp_path / 'checkout'
    root.mkdir()
    monkeypatch.setattr(record, 'ROOT', root)
    (root / 'code.py').write_text('1')
    (root / 'page.md').write_text('1')

    def git(*args):
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b.c')
        done = subprocess.run(['git', *identity, *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git('init')
    git('add', '.')
    git('commit', '--no-verify', '-m', 'first')
    return root, git


def test_a_record_says_how_its_values_were_measured(checkout, monkeypatch):
    root, git = checkout
    monkeypatch.setattr(sys, 'argv', [str(root / 'tools/measure.py'), 'a b', '--record', 'out.json'])
    path = root / 'results/out.json'
    written = record.write_record(path, {'top-1': 80.25, 'runs': [1, torch.tensor(2.0)]}, config='a.py', seed=0)
    found = record.read_record(path)
    assert list(found) == list(record.FIELDS) and found == json.loads(json.dumps(written, default=float))
    assert found['values'] == {'top-1': 80.25, 'runs': [1, 2.0]} and (found['config'], found['seed']) == ('a.py', 0)
    assert found['command'] == "python tools/measure.py 'a b' --record out.json"
    assert (found['commit'], found['dirty']) == (git('rev-parse', 'HEAD'), False)
    assert found['versions']['torch'] == torch.__version__
    assert found['machine']['threads'] == torch.get_num_threads()


def test_the_version_of_the_code_in_one_line(checkout, monkeypatch):
    root, git = checkout
    assert record.code_version() == f'aemim-mm {__version__}, commit {git("rev-parse", "HEAD")[:10]}'
    (root / 'code.py').write_text('2')
    assert record.code_version().endswith(' with changes')
    monkeypatch.setattr(record, 'ROOT', root.parent)
    assert record.code_version() == f'aemim-mm {__version__}'


@pytest.mark.parametrize(('changed', 'dirty'), [('page.md', False), ('code.py', True), ('new.py', True)])
def test_only_changed_code_makes_a_record_dirty(checkout, changed, dirty):
    (checkout[0] / changed).write_text('2')
    assert record.write_record(checkout[0] / 'out.json', {})['dirty'] is dirty


def test_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(record, 'ROOT', tmp_path)
    found = record.write_record(tmp_path / 'out.json', {})
    assert found['commit'] is None and found['dirty'] is None


@pytest.mark.parametrize(
    ('text', 'kept'),
    [
        ('{root}/configs/a.py', 'configs/a.py'),
        ('{root}/tools/../configs/a.py model.x={root}/b.pth', 'configs/a.py model.x=b.pth'),
        ('/home/someone/imagenet', 'imagenet'),
        ('vit=/data/a.pth', 'vit=a.pth'),
        ('OTHER.py:/data/b.pth', 'OTHER.py:b.pth'),
        ("it's '/data/c d/e'", "it's 'c d/e'"),
        ('images/s, 8/255, ../x/y, ./x, ~/z, and/or', 'images/s, 8/255, ../x/y, ./x, ~/z, and/or'),
        ('https://example.org/a/b.pth', 'https://example.org/a/b.pth'),
        ('mmpretrain::mae/mae.py', 'mmpretrain::mae/mae.py'),
    ],
)
@pytest.mark.parametrize('folder', ['project', 'My Projects, new'])
def test_no_absolute_path_gets_into_a_record(tmp_path, monkeypatch, text, kept, folder):
    root = tmp_path / folder
    monkeypatch.setattr(record, 'ROOT', root)
    text = text.format(root=root)
    monkeypatch.setattr(sys, 'argv', ['x.py', text])
    found = record.write_record(tmp_path / 'out.json', {text: [text]}, config={'a': text})
    assert found['values'] == {kept: [kept]} and found['config'] == {'a': kept}
    assert str(tmp_path) not in (tmp_path / 'out.json').read_text()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot be read as a record'),
        ('{', 'cannot be read as a record'),
        ('{"values": {}, "seed": 0}', 'lacks command, config, date, commit, dirty, machine, versions'),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, message):
    path = tmp_path / 'out.json'
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        record.read_record(path)


def test_facts_about_the_machine_need_no_torch(monkeypatch):
    assert machine.machine_facts()['instructions'] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.delitem(sys.modules, 'torch')
    facts = machine.machine_facts()
    assert facts == dict(processor=machine.processor_name(), cores=facts['cores']) and facts['processor']


def test_a_table_in_markdown():
    rows = {'first': dict(share=0.5, seconds=2), 'second': dict(share=None, seconds=11)}
    columns = {'': '{name}', 'share (s)': '{share:.0%} ({seconds})', 's': '{seconds:.1f}'}
    assert markdown_table(rows, columns).splitlines() == [
        '|        | share (s) | s    |',
        '| ------ | --------- | ---- |',
        '| first  | 50% (2)   | 2.0  |',
        '| second |           | 11.0 |',
    ]
    with pytest.raises(KeyError, match='gain'):
        markdown_table(rows, {'gain': '{gain}'})
