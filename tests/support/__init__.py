"""What several test modules need. `oracle` imports nothing of the package under test, so that it cannot share its mistakes."""
