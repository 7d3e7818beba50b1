"""What we know of LNbits' own tables and services: nobody else reaches inside it."""
