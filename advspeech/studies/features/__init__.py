"""Feature-level attacks against end-to-end ones, on equal terms.

The paper argues (Figure 3, eqs. 6 and 7) that perturbing features and
rebuilding the audio costs a conversion loss that can exceed the perturbation
itself. Here both kinds of attack are made on the same clips by the same steps,
the end-to-end one on the waveform as its own representation, and the overall
perturbation of every example is split as in eq. 6.

Perturbations stay on recorded samples: in the padding a feature-level attack
could do little, and SNR would not see what an end-to-end one does there.

`settings` says what is tried, `attack` is compiled, `clips` runs it over a
split, `norms` is eq. 7; `comparisons`, `tables`, `examples` and `figures`
report it.
"""
