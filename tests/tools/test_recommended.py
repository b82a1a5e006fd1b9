"""Commands and flags that pages, docstrings and messages recommend are accepted by the tools that they name.

What such a command needs, no test has: GPUs, ImageNet, COCO, published weights, or a folder of the reader's. So it is
parsed, its config exists, and its tool is run by another test. The commands of the tutorials need none of these, and
tests/tools/test_tutorials.py runs them.
"""

import argparse
import ast
import re
import shlex
import sys

import pytest
from helpers import runs

TOOLS = {str(path.relative_to(runs.REPO)): path for path in (runs.REPO / 'tools').rglob('*.py')}
# Arguments before those of tools/train.py.
SCRIPTS = {'tools/dist_train.sh': 2, 'tools/slurm_train.sh': 3}
COMMAND = re.compile(r'(?<![\w/.-])(tools/[\w/]+\.(?:py|sh))((?: (?:[^`#|>;&),]|,(?! ))*)?)')


class Parsed(Exception):
    """Ends a tool after it has parsed its arguments."""


def parse(monkeypatch, path, words):
    """Let a tool parse these words; return its parser. It raises SystemExit if they are wrong."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *args, **kwargs):
        original(self, *args, **kwargs)
        raise Parsed(self)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
        patch.setattr(sys, 'argv', [path, *words])
        with pytest.raises(Parsed) as parsed:
            module = runs.tool(path.removeprefix('tools/'))
            getattr(module, 'parse_args', module.main)()
    return parsed.value.args[0]


def texts():
    """Yield the pages, and the docstrings and messages of the code."""
    for page in [runs.REPO / 'README.md', runs.REPO / 'CONTRIBUTING.md', *runs.REPO.glob('docs/**/*.md')]:
        yield page, page.read_text(encoding='utf-8')
    for folder in ('aemim_mm', 'configs', 'tools'):
        for page in sorted((runs.REPO / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(page.read_text(encoding='utf-8'))):
                if isinstance(node, ast.JoinedStr):
                    yield page, ''.join(part.value if isinstance(part, ast.Constant) else 'X' for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield page, node.value


def commands():
    for _, text in texts():
        for line in re.sub(r'\\\n\s*', ' ', text).splitlines():
            for tool, rest in COMMAND.findall(line):
                # The pattern ends at a bracket, also inside quotes.
                is_whole = rest.count('"') % 2 == rest.count("'") % 2 == 0
                words = shlex.split(rest.rstrip(' .,:\'"'), comments=True) if is_whole else rest.split()
                # Prose that only names a tool has no arguments that look like some.
                # A synopsis has brackets.
                if (
                    words
                    and '[' not in rest
                    and (words[0].startswith('-') or re.fullmatch(r'[A-Z_]+|.*[./].*', words[0]))
                ):
                    yield tool, tuple(words)


RECOMMENDED = sorted({command for command in commands() if command[0] in {*TOOLS, *SCRIPTS}})


def test_commands_are_found():
    assert len(RECOMMENDED) > 40


@pytest.mark.parametrize(
    ('tool', 'words'), RECOMMENDED, ids=lambda part: part if isinstance(part, str) else ' '.join(part)
)
def test_a_recommended_command_is_accepted(tool, words, monkeypatch, capsys):
    if tool in SCRIPTS:
        first = SCRIPTS[tool]
        config = [words[0]] if first == 2 else [words[2]]
        words, tool = (*config, *words[first:]), 'tools/train.py'
    parse(monkeypatch, tool, [re.sub(r'^\.\.\.$', 'x', word) for word in words])


def test_configs_in_recommended_commands_exist():
    words = {word for _, words in RECOMMENDED for word in words}
    # X stands for a value in a message.
    named = {word for word in words if re.fullmatch(r'configs/[\w./-]+(?<!/X)\.py', word)}
    assert len(named) > 30 and [word for word in named if not (runs.REPO / word).is_file()] == []


def test_each_recommended_tool_is_run_by_a_test():
    # tests/tools/test_tutorials.py runs the commands of the tutorials.
    pages = [*(runs.REPO / 'tests').rglob('*.py'), *runs.REPO.glob('docs/tutorials/*.md')]
    tests = '\n'.join(page.read_text(encoding='utf-8') for page in pages)
    for tool in {tool for tool, _ in RECOMMENDED}:
        name = tool.removeprefix('tools/')
        # As in runs.run('NAME', ...), runs.tool('NAME'), runs.train(...), or in a command of a shell.
        assert re.search(rf"['\"/ ]{re.escape(name)}|runs\.{re.escape(name.removesuffix('.py'))}\(", tests), tool


def flags_of(monkeypatch, tool):
    parser = []
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', lambda self, *_: parser.append(self) or sys.exit())
        with pytest.raises(SystemExit):
            module = runs.tool(tool.removeprefix('tools/'))
            getattr(module, 'parse_args', module.main)()
    return {flag for action in parser[0]._actions for flag in action.option_strings}


def test_flags_in_messages_are_flags_of_a_tool(monkeypatch):
    tools = [tool for tool, path in TOOLS.items() if '.parse_args(' in path.read_text()]
    known = set().union(*(flags_of(monkeypatch, tool) for tool in tools))
    # Of pip, git and torchrun.
    known |= {'--force-reinstall', '--no-deps', '--no-build-isolation', '--no-cache-dir', '--porcelain', '--help'}
    known |= {'--max-restarts', '--nnodes'}
    named = {}
    for page, text in texts():
        if page.is_relative_to(runs.REPO / 'aemim_mm') or page.is_relative_to(runs.CONFIGS):
            named.update(dict.fromkeys(re.findall(r'(?<![\w-])--[a-z][a-z-]+', text), page.name))
    assert {flag: page for flag, page in named.items() if flag not in known} == {}
