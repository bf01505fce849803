"""Salient regions drawn by people, from operations to masks, consensus and agreement; see docs/annotation.md.

Torch-free.
"""
