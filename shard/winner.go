package shard

import "hash/fnv"

// Winner returns the member that a shard belongs to: the one with the highest hash of both (rendezvous hashing), so that a member that joins
// or leaves moves only its own shards. It is empty without members.
func Winner(shard int, members []string) string {
	best, score := "", uint64(0)
	for _, m := range members {
		f := fnv.New64a()
		_, _ = f.Write([]byte(m))                                // a hash never fails
		_, _ = f.Write([]byte{byte(shard >> 8), byte(shard), 0}) // nor here
		if s := mix(f.Sum64()); best == "" || s > score || (s == score && m > best) {
			best, score = m, s
		}
	}
	return best
}

// mix spreads the bits of a hash (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
