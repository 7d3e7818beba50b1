"""Which route is whose among an operator's people: one line for each, closed without.

`OWN`: whoever asks, for themselves, whomever they work for. A set of roles: they ask
for the operator. No line: closed to staff; the operator alone, or the super.
"""

from __future__ import annotations

from ..base.acting import BOOKKEEPER, COLLECTOR, MANAGER

OWN = frozenset({"own"})
_DESK = frozenset({MANAGER})
_READ = frozenset({MANAGER, BOOKKEEPER})
_CASH = frozenset({MANAGER, COLLECTOR})
_ALL = frozenset({MANAGER, BOOKKEEPER, COLLECTOR})

_LINES: dict[frozenset[str], str] = {
    OWN: """
        GET /me
        GET /invitations/{code}
        POST /invitations/{code}/accept
        POST /invitations/{code}/decline
        POST /staff/{staff_id}/leave
        GET /notifications
        PUT /notifications
        POST /notifications/test
    """,
    _ALL: """
        GET /changes
        GET /preferences
        GET /machines
        GET /machines/{machine_id}
        GET /machines/{machine_id}/visits
        GET /machines/{machine_id}/visits.csv
        GET /machines/{machine_id}/cassettes
        GET /visits
        GET /visits.csv
        GET /visits/{visit_id}
        GET /visits/{visit_id}.csv
        GET /cash
        GET /cash/movements
        GET /cash/movements.csv
        GET /cash/plan
        PAGE /visits/{visit_id}/slip
        PAGE /cash/plan/print
    """,
    _CASH: """
        PUT /machines/{machine_id}/cassettes
        POST /machines/{machine_id}/visits
        PUT /visits/{visit_id}
        POST /visits/{visit_id}/close
        POST /visits/{visit_id}/cancel
    """,
    _READ: """
        GET /overview
        GET /audit
        GET /audit.csv
        GET /accounting.csv
        GET /accounting/entries
        GET /accounting/entries.csv
        GET /accounting.beancount
        GET /accounting/balances
        GET /reconciliations
        GET /reconciliations.csv
        GET /reconciliations/{report_id}
        GET /machines.csv
        GET /machines/{machine_id}/telemetry
        GET /machines/{machine_id}/splits
        GET /splits
        POST /splits/preview
        GET /clients
        GET /clients.csv
        GET /clients/{client_id}
        GET /clients/{client_id}/balance
        GET /deposits
        GET /deposits.csv
        GET /settlements
        GET /settlements.csv
        PAGE /settlements/{settlement_id}/receipt
        GET /settlements/{settlement_id}
        POST /settlements/{settlement_id}/notes
        GET /payments
        GET /payments.csv
        GET /cash/books
        GET /cash/books.csv
        GET /insight
        GET /insight.csv
        GET /search
        GET /discounts
        GET /discounts.csv
    """,
    _DESK: """
        PUT /machines/{machine_id}
        GET /machines/{machine_id}/pairing
        POST /machines/{machine_id}/pairing
        POST /machines/{machine_id}/unpair
        POST /machines/{machine_id}/invitations
        POST /machines/{machine_id}/reconciliation
        POST /machines/{machine_id}/resume-payouts
        POST /machines/{machine_id}/void-past
        POST /clients
        PUT /clients/{client_id}
        DELETE /clients/{client_id}
        POST /deposits
        PUT /deposits/{deposit_id}
        PUT /deposits/{deposit_id}/status
        POST /settlements/{settlement_id}/resolve
        POST /settlements/{settlement_id}/dispense
        POST /settlements/{settlement_id}/dispense/preview
        POST /settlements/{settlement_id}/refund
        POST /settlements/{settlement_id}/retry
        POST /settlements/{settlement_id}/void
        POST /settlements/{settlement_id}/test
        POST /settlements/{settlement_id}/seen
        POST /payments/{leg_id}/retry
        POST /payments/{leg_id}/void
        POST /payments/{leg_id}/mark-paid
        POST /cash/hand
        PAGE /machines/{machine_id}/pairing-sheet
    """,
}
RIGHTS: dict[str, frozenset[str]] = {
    line.strip(): roles
    for roles, text in _LINES.items()
    for line in text.strip().splitlines()
}


def roles_of(route: str) -> frozenset[str]:
    """Who of an operator's people may ask this ("GET /machines"); empty: nobody."""
    return RIGHTS.get(route, frozenset())
