"""What researchers do: accounts, the numbers of the dashboard, exclusions, exports, and the ledger of all of it."""
