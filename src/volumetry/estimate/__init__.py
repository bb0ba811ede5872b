"""From tallies to numbers: reweighting, standard errors, and the criteria by which a run counts as
converged. Knows levels, not networks."""
