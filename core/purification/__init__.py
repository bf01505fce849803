"""Purification of AToP (Lin et al. 2024, arXiv 2401.16352): random transforms, a purifier, and a frozen classifier."""
