"""Measurements of what everything costs.

`computations` is what is timed, `timing` how. `host` compares a machine with
its own matrix products, layer by layer and tool by tool, `stages` times epochs,
input, memory and a start; `accelerator` is the short session with a GPU or TPU
that is borrowed, a module for each thing measured.
"""
