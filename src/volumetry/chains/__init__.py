"""The Markov chain: walkers in weighted windows, advanced by whole rounds, on the CPU and on a GPU
behind one contract; and the records that it leaves. Imports ``systems``, ``engines`` and what is
below."""
