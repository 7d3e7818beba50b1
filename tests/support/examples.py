"""How many examples a property is tried with: some by default, all of them on demand.

Most of a property's faults show in the first few examples, and `make test` is waited
for: SATMACHINE_EXAMPLES=100 (per cent) tries all that a test asks for, 1000 ten times
as many.
"""

from __future__ import annotations

import os

PERCENT = int(os.environ.get("SATMACHINE_EXAMPLES", "25"))


def examples(most: int) -> int:
    return max(20, most * PERCENT // 100)
