"""Privacy: who speaks is hidden, and the emotion stays.

A crossed design: speakers are enrolled with one statement and tested with the
other. Clips are changed until a speaker embedder finds its speaker no more
while the run's own model keeps its answer, by solvers of equal SNR, beside
noise, filters and the McAdams coefficient. Those who want to know who speaks
may know nothing of it, protect the enrolled clips as well, or refit their
speaker model to protected speech of other speakers.

`design` says who is enrolled and tested, `protecting` is compiled, `parts` runs
it and holds it on disk, `backend` is refitted, `attackers` find speakers,
`points` takes intervals; `tables`, `figures`, `claims` and `page` report it.
"""
