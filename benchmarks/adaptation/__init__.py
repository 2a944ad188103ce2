"""What does adapting a shipped model to an unseen scanner gain?"""
