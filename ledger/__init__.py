"""Who has and is owed what, written down: balanced entries that nobody changes."""
