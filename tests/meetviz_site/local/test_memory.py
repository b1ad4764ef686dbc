from __future__ import annotations

import subprocess
import sys

import pytest

from meetviz_site.local import memory

MESSY = """
import psutil
from meetviz_site.local.memory import give_back
resident = psutil.Process().memory_info
sound = [bytes([n % 256]) * 60_000 for n in range(2_000)]
kept, sound = sound[::100], None
before = resident().rss
assert give_back()
print(before - resident().rss)
"""


@pytest.mark.skipif(not memory.give_back(), reason="a C library without malloc_trim")
def test_what_was_freed_between_what_is_in_use_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", MESSY], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60_000_000
