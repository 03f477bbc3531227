"""The journey out: what may go, when and to whom; claims, rates, holds, results, statuses; bulk."""
