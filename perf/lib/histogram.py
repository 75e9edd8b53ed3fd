"""Numbers counted in buckets whose width grows with the number, as an HDR histogram does it."""

import math

# Each power of two is cut into so many buckets: a number is known to 1 part in 64.
PARTS = 64
PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9), ("max", 100.0))


def bucket_of(number):
    """Of a whole number that is not negative."""
    if number < PARTS:
        return number
    shift = number.bit_length() - PARTS.bit_length()
    return (shift + 1) * PARTS + (number >> shift) - PARTS


def upper_of(bucket):
    """The largest number that is counted in a bucket."""
    if bucket < PARTS:
        return bucket
    shift, part = divmod(bucket - PARTS, PARTS)
    return ((PARTS + part + 1) << shift) - 1


class Histogram:
    def __init__(self):
        self.counts = {}
        self.total = 0
        self.most = 0

    def add(self, number):
        bucket = bucket_of(number)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1
        self.most = max(self.most, number)

    def merge(self, other):
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.most = max(self.most, other.most)

    def percentile(self, percent):
        """The least number that so many percent do not exceed; exact for 100, else of its bucket."""
        if percent >= 100:
            return self.most
        wanted = max(1, math.ceil(self.total * percent / 100))
        reached = 0
        for bucket in sorted(self.counts):
            reached += self.counts[bucket]
            if reached >= wanted:
                return min(upper_of(bucket), self.most)
        return 0

    def pairs(self):
        """[largest number of the bucket, count] for each, from small to large."""
        return [[upper_of(bucket), self.counts[bucket]] for bucket in sorted(self.counts)]
