"""What rounding alone does to a training, and to how fragile it comes out.

The same seed is trained again with the rows of every batch in another order:
the same clips, the same first parameters, the same sums but for the order in
which they are added up. What differs between these trainings is rounding,
grown over all steps, and no comparison of two networks can tell less.
"""
