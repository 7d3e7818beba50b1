"""LNbits' view `balances` as it is and as it could be: texts only, for anybody to read.

The one change to LNbits' database that is ever made from here (`speed.py`). Nothing is
imported: `bench/host_copy.py` measures the very same texts without LNbits.
"""

# The name is the cure when LNbits names it in an error: on SQLite an index stops a
# later DROP COLUMN of LNbits' migrations.
INDEX = "satmachineadmin_host_safe_to_drop"
DROP_INDEX = f"DROP INDEX IF EXISTS {INDEX}"
DROP_VIEW = "DROP VIEW balances"
COLUMNS = "(wallet_id, status, amount, fee)"
CREATE_INDEX = f"CREATE INDEX {INDEX} ON apipayments {COLUMNS}"
CREATE_INDEX_CONCURRENTLY = CREATE_INDEX.replace("INDEX", "INDEX CONCURRENTLY", 1)

# LNbits' m025_refresh_view, of all its versions up to 1.6, to the letter: what is put
# back where our own record was lost.
STOCK_SELECT = """\
SELECT apipayments.wallet_id,
               SUM(apipayments.amount - ABS(apipayments.fee)) AS balance
        FROM wallets
        LEFT JOIN apipayments ON apipayments.wallet_id = wallets.id
        WHERE (wallets.deleted = false OR wallets.deleted is NULL)
        AND (
            (apipayments.status = 'success' AND apipayments.amount > 0)
            OR (apipayments.status IN ('success', 'pending') AND apipayments.amount < 0)
        )
        GROUP BY apipayments.wallet_id"""

# The same sums, asked wallet by wallet; NULL where the stock view has no row.
OUR_SELECT = """\
SELECT wallets.id AS wallet_id, (
    SELECT SUM(p.amount - ABS(p.fee)) FROM apipayments p
    WHERE p.wallet_id = wallets.id AND (
        (p.status = 'success' AND p.amount > 0)
        OR (p.status IN ('success', 'pending') AND p.amount < 0)
    )
) AS balance
FROM wallets
WHERE (wallets.deleted = false OR wallets.deleted IS NULL)"""

STOCK_VIEW = f"CREATE VIEW balances AS\n        {STOCK_SELECT}"
OUR_VIEW = f"CREATE VIEW balances AS\n{OUR_SELECT}"


def normalised(text: str) -> str:
    """A view's text as SQLite keeps it, whatever its spaces and capitals."""
    return " ".join(text.lower().replace("(", " ( ").replace(")", " ) ").split())


def bare(text: str) -> str:
    """A SELECT without what PostgreSQL adds and takes away when it keeps one.

    Too coarse to tell two views apart by their brackets: there, the view is only read.
    """
    plain = "".join(text.lower().replace("::text", "").split())
    for mark in "();":
        plain = plain.replace(mark, "")
    return plain.replace("=anyarray['success','pending']", "in'success','pending'")
