"""What does the gate let pass?"""
