"""Attacks that honour a budget map. The caller, never the attack, checks the budget and judges success."""
