"""Does the body mask keep the whole patient and nothing else?"""
