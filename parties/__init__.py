"""Who is who: machines, LPs, splits."""
