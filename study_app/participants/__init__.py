"""What happens to a participant: arrival, steps, answers, visits, the end, withdrawal."""
