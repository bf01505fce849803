"""What the population of people is like: thresholds over participants, and mixed models."""
