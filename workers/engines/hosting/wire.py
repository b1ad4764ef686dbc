"""What parent and child say to each other: pickled messages over a socket pair that only these two ever hold.

Questions have numbers, and answers carry them: an answer that nobody waits for any more (the one who asked was
interrupted) is never taken for that to the next question.
"""

from __future__ import annotations

import pickle
from typing import Any

# From the parent: the first byte says which.
ASK = b"a"
"""Then a pickled (number, method, arguments, whether steps are reported)."""
STOP = b"s"
"""Then a pickled number: raise Cancelled in that question's next step."""

# From the child, as the second of a pickled (number, kind, value).
VALUE = "value"
ERROR = "error"
"""Its value: code and message of an EngineError."""
STEP = "step"
"""Its value: the arguments of `on_step`."""


def packed(content: Any) -> bytes:
    return pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(message: bytes) -> Any:
    return pickle.loads(message)
