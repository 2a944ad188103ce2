"""Which training engine?"""
