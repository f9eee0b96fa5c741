"""An attacker who may only ask: a substitute trained on the victim's labels.

Papernot et al. (2016): the attacker asks the victim about some clips, trains a
network of its own on the answers, moves the clips along that network's
gradient, asks again, and so on. Examples made on the substitute are then tried
on the victim. Every answer is counted, and other ways to come by new clips are
given as many.
"""
