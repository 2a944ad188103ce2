"""What does each single change contribute?"""
