"""How many examples a property is tried with: some by default, all of them on demand.

Most of a property's faults show in the first few examples, and `make test` is waited
for: SATMACHINE_EXAMPLES=100 (per cent) tries all that a test asks for, 1000 ten times
as many. Kills of real servers, long bursts and upgrades of every old database count
as examples too: `IS_THOROUGH` asks for all of them.
"""

from __future__ import annotations

import os

PERCENT = int(os.environ.get("SATMACHINE_EXAMPLES", "25"))
IS_THOROUGH = PERCENT >= 100


def examples(most: int) -> int:
    return max(20, most * PERCENT // 100)
