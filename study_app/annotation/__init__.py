"""Salient regions drawn by people: pictures, tasks, annotators, their strokes and what reviewers say of them.

``task`` says what a task file may hold, ``tables`` what the database holds. ``registering`` puts both in,
``handing_out`` decides who gets which picture, ``strokes`` and ``submissions`` keep what is drawn, behind ``pages`` and
``api``; ``reviewing`` is what researchers do with it, ``exporting`` writes it as an annotation set.
"""
