"""Would the tests notice a mistake? See README.md."""
