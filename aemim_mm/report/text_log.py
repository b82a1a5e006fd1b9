"""The text logs of mmengine: facts about a training, and its warnings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RECORD = re.compile(r'(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - ([A-Z]+) - (.*)')
FACTS = {
    'aemim-mm': re.compile(r'^aemim-mm (\S.*)$', re.MULTILINE),
    'seed': re.compile(r'^\s+seed: (\d+)$', re.MULTILINE),
    'torch': re.compile(r'^\s+PyTorch: (\S+)$', re.MULTILINE),
    'mmengine': re.compile(r'^\s+MMEngine: (\S+)$', re.MULTILINE),
    'processes': re.compile(r'^\s+GPU number: (\d+)$', re.MULTILINE),
    'iterations an epoch': re.compile(r'Epoch\(train\)\s+\[\d+\]\[\s*\d+/(\d+)\]'),
    'saved': re.compile(r'Saving checkpoint at (\d+ (?:epochs|iterations))'),
    'test': re.compile(r'((?:Epoch|Iter)\(test\))'),
}
LONGEST = 300


@dataclass
class TextLog:
    """What the text logs say.

    Attributes:
        facts: Name of a fact, as in ``FACTS``, to the last text found.
        time: Time of the last line, as the log has it; empty without one.
        warnings: (level, message) of warnings and errors to how often they were logged; the latest is the last.
    """

    facts: dict[str, str] = field(default_factory=dict)
    time: str = ''
    warnings: dict[tuple[str, str], int] = field(default_factory=dict)


def read_log(folder: Path) -> TextLog:
    """Read the ``.log`` files of a folder; several processes may have written one each."""
    log = TextLog()
    for file in sorted(folder.glob('*.log')):
        for time, level, text in _records(file):
            log.time = max(log.time, time)
            if level in ('WARNING', 'ERROR', 'CRITICAL'):
                text = ' '.join(text.split())
                key = level, text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'
                log.warnings[key] = log.warnings.pop(key, 0) + 1
            for name, pattern in FACTS.items():
                found = pattern.search(text)
                if found:
                    log.facts[name] = found[1]
    return log


def _records(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield time, level and text of each record; a text may have several lines."""
    head, lines = None, []
    for line in file.read_text(encoding='utf-8', errors='replace').splitlines():
        found = RECORD.match(line)
        if found:
            if head:
                yield *head, '\n'.join(lines)
            *head, first = found.groups()
            lines = [first]
        else:
            lines.append(line)
    if head:
        yield *head, '\n'.join(lines)
