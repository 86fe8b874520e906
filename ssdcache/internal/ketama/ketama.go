// Package ketama places keys on nodes by consistent hashing, as libketama does:
// 160 points a node from the MD5 of "address-number", so that a node that comes
// or goes moves only its own share of the keys, and clients of other makes that
// place the same way find them.
package ketama

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"slices"
	"sort"
	"strconv"
)

// Ring is safe for concurrent use.
type Ring struct {
	points []point
	nodes  int
}

type point struct {
	hash uint32
	node int
}

// New makes a ring of nodes, which are told apart by their addresses.
func New(addrs []string) *Ring {
	r := &Ring{nodes: len(addrs)}
	for node, addr := range addrs {
		for i := range 40 {
			sum := md5.Sum(strconv.AppendInt([]byte(addr+"-"), int64(i), 10))
			for h := range 4 {
				r.points = append(r.points, point{binary.LittleEndian.Uint32(sum[h*4:]), node})
			}
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node))
	})
	return r
}

// Pick returns the node of a key: the first along the ring that is in, -1 if
// none is.
func (r *Ring) Pick(key string, in func(node int) bool) int {
	sum := md5.Sum([]byte(key))
	hash := binary.LittleEndian.Uint32(sum[:])
	begin := sort.Search(len(r.points), func(i int) bool { return r.points[i].hash >= hash })
	var out []bool
	for i, asked := 0, 0; i < len(r.points) && asked < r.nodes; i++ {
		node := r.points[(begin+i)%len(r.points)].node
		if out != nil && out[node] {
			continue
		}
		if in(node) {
			return node
		}
		if out == nil {
			out = make([]bool, r.nodes)
		}
		out[node] = true
		asked++
	}
	return -1
}
