"""What other programs reach over a wire."""
