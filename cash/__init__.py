"""Where is every note?"""
