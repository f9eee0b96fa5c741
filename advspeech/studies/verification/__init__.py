"""Speaker verification under attack: the paper's Figure 1, with numbers.

A trial is a claimed speaker and a clip: its score is the cosine between the
clip's embedding and the mean of those of the enrolled clips. Thresholds come
from clean trials of other speakers. Impostors are attacked until they sound
like the claimed speaker, targets until they do not; an attack sees other clips
of the claimed speaker than those enrolled, against which it is judged, by the
embedder attacked and by all others.

`trials` says who claims to be whom, `scoring` embeds, `attacking` is compiled,
`parts` runs both and holds them on disk; `tables`, `figures`, `claims` and
`page` report it.
"""
