"""How fast, at what cost: our real processes against bare references, in turn, in one run."""
