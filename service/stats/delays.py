"""Pure: what a histogram of delays says. Its buckets are those of delay_bucket() in schema.sql."""

from collections.abc import Mapping


def bounds(bucket: int) -> tuple[float, float]:
    """The seconds between which the delays of a bucket lie. The last one has no end."""
    low = 0.0 if bucket == 1 else 2 ** ((bucket - 2) / 2) / 32
    return low, 2 ** ((bucket - 1) / 2) / 32


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """How many seconds so large a share of the delays took at most, None when there were none.

    `counts`: by bucket. Within a bucket they are taken as evenly spread.
    """
    wanted = share * sum(counts.values())
    if not wanted:
        return None
    below = 0
    for bucket in sorted(counts):
        if below + counts[bucket] >= wanted:
            break
        below += counts[bucket]
    low, high = bounds(bucket)
    return round(low + (high - low) * (wanted - below) / counts[bucket], 3)


def told(counts: Mapping[int, int]) -> dict[str, float | None]:
    """Median and 95th percentile, in seconds, as an answer shows them."""
    return {'median': quantile(counts, 0.5), 'p95': quantile(counts, 0.95)}
