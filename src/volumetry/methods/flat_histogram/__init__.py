"""The stages of rewl: explore, divide into windows, learn, settle, produce.

Each is a function of the setting of the run (``Flat``) and of the records that earlier stages left,
and returns a record. What is made flat is the coordinate of the system's grid: A, or a level of a
loss. The sampler adds where the walkers start, what fixes the absolute scale, and what precision is
asked for.
"""
