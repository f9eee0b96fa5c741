"""Measurements of what everything costs.

`host` compares a machine with its own matrix products, layer by layer and tool
by tool; `accelerator` is the short session with a GPU or TPU that is borrowed.
"""
