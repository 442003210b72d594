"""What every kernel is checked against."""
