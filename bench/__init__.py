"""How fast, and how flat as history grows: `make bench`."""
