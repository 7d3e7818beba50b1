"""What went wrong, who is told, and do the books agree?"""
