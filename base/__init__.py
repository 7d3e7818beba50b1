"""What everything stands on: the database, the lease, the log, refusals."""
