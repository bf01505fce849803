"""The report: what people saw, beside what the machines did, from files alone (no torch, no database, no network)."""
