"""The study of attacks through simulated rooms: seen ones and unseen ones.

`sending` compiles an attack and what a microphone hears of it in many rooms,
`parts` keeps that on disk, `tables` has the rates; `figures`, `claims` and
`page` are drawn from the tables.
"""
