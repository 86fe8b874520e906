package motan

import "testing"

// LocalFirst calls those on this machine as long as there are any that can be called.
func TestLocalFirst(t *testing.T) {
	c := &Client{}
	var list []*endpoint
	for _, addr := range []string{"198.51.100.1:1", "127.0.0.1:1", "unix:/tmp/x", "[::1]:1", "198.51.100.2:1", "localhost:1", "http://198.51.100.3:1"} {
		e := &endpoint{addr: addr, client: c}
		e.weight.Store(10)
		list = append(list, e)
	}
	local := map[string]bool{"127.0.0.1:1": true, "unix:/tmp/x": true, "[::1]:1": true, "localhost:1": true}
	p := newPicker(LocalFirst, list)
	picked := func() map[string]int {
		got := map[string]int{}
		for range 1000 {
			got[p.pick(t.Context(), noTurn, nil).addr]++
		}
		return got
	}
	got := picked()
	for addr := range got {
		if !local[addr] {
			t.Errorf("%s was called while there are local ones", addr)
		}
	}
	if len(got) != len(local) {
		t.Errorf("of the local ones %v were called", got)
	}
	for _, e := range list {
		if local[e.addr] {
			e.forced.Store(1) // taken out
		}
	}
	if got = picked(); len(got) != len(list)-len(local) {
		t.Errorf("without local ones %v were called", got)
	}
}
