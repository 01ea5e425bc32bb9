"""What several test modules need; nothing of the package under test is imported here."""
