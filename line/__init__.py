"""What do machines say and hear, over Nostr?"""
