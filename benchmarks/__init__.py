"""Networks to measure and test with, the peers to compare with, and the runner."""
