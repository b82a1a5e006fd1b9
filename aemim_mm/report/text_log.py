"""The text logs of mmengine: facts about a training, and its warnings."""

import re
from dataclasses import dataclass, field
from pathlib import Path

# What begins a record; its text may have several lines.
RECORD = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - ([A-Z]+) - ', re.MULTILINE)
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
# mmengine warns of each frozen parameter by name.
FROZEN = re.compile(r'^\S+( is skipped since its requires_grad=False)$')
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
        _, *pieces = RECORD.split(file.read_text(encoding='utf-8', errors='replace'))
        for time, level, text in zip(pieces[::3], pieces[1::3], pieces[2::3]):
            log.time = max(log.time, time)
            if level in ('WARNING', 'ERROR', 'CRITICAL'):
                text = FROZEN.sub(r'A parameter\1', ' '.join(text.split()))
                key = level, text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'
                log.warnings[key] = log.warnings.pop(key, 0) + 1
            for name, pattern in FACTS.items():
                found = pattern.search(text)
                if found:
                    log.facts[name] = found[1]
    return log
