"""What a head learns from: the base's answers, changed answers, filters, and features of what is kept."""
