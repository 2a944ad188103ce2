"""What a release consists of: built, listed, checked, and used as a user does."""
