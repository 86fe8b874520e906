package console

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman/flight"
)

// profiling is true while a CPU profile is taken: there can be one at a time.
var profiling atomic.Bool

func (c *Console) runtime(rw http.ResponseWriter, r *http.Request) {
	// These readings stop nothing, unlike runtime.ReadMemStats.
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/gc/heap/goal:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	v := make([]uint64, len(samples))
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			v[i] = s.Value.Uint64()
		}
	}
	var build string
	if info, ok := debug.ReadBuildInfo(); ok {
		build = info.Main.Path + " " + info.Main.Version
	}
	c.show(rw, r, "runtime", "Runtime", struct {
		Heap, Total, Goal, Cycles, Allocs, Goroutines uint64
		Procs                                         int
		Version, Build                                string
		Flight                                        *flight.Recorder
		Up                                            time.Duration
		Audit                                         []audit
	}{v[0], v[1], v[2], v[3], v[4], v[5], runtime.GOMAXPROCS(0), runtime.Version(), build, c.opt.Flight, time.Since(c.recorder.began), c.changes()})
}

// flight starts and stops the flight recorder, takes a snapshot, or serves one
// to download.
func (c *Console) flight(rw http.ResponseWriter, r *http.Request) {
	rec := c.opt.Flight
	if rec == nil {
		refuse(rw, http.StatusNotFound, "This program has no flight recorder.")
		return
	}
	if s := r.PostFormValue("id"); s != "" {
		id, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			refuse(rw, http.StatusBadRequest, "The snapshot's number is no number.")
			return
		}
		if !slices.ContainsFunc(rec.Snapshots(), func(s flight.Snapshot) bool { return s.ID == id }) {
			refuse(rw, http.StatusNotFound, "The snapshot is not kept any more.")
			return
		}
		download(rw, fmt.Sprintf("flight-%d.trace", id), "application/octet-stream")
		_ = rec.WriteSnapshot(rw, id) // the client has gone; nobody is left to tell
		return
	}
	var err error
	what := r.PostFormValue("do")
	switch what {
	case "start":
		err = rec.Start()
	case "stop":
		rec.Stop()
	case "snapshot":
		user, _ := c.who(r)
		_, err = rec.Snapshot("asked for by " + user)
	default:
		refuse(rw, http.StatusBadRequest, fmt.Sprintf("A flight recorder cannot %.20q.", what))
		return
	}
	if err != nil {
		refuse(rw, http.StatusConflict, err.Error())
		return
	}
	c.log(r, "flight recorder: "+what, "")
	http.Redirect(rw, r, "runtime?done=flight", http.StatusSeeOther)
}

// profile serves one to download. It is a POST because it costs something and
// shows the program's inside.
func (c *Console) profile(rw http.ResponseWriter, r *http.Request) {
	what := r.PostFormValue("what")
	switch what {
	case "goroutine", "heap", "allocs", "mutex", "block":
		download(rw, what+".pprof", "application/octet-stream")
		_ = pprof.Lookup(what).WriteTo(rw, 0) // the client has gone; nobody is left to tell
	case "stacks":
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = pprof.Lookup("goroutine").WriteTo(rw, 1) // as above
	case "cpu":
		if !profiling.CompareAndSwap(false, true) {
			refuse(rw, http.StatusConflict, "A CPU profile is being taken.")
			return
		}
		defer profiling.Store(false)
		download(rw, "cpu.pprof", "application/octet-stream")
		if err := pprof.StartCPUProfile(rw); err != nil {
			refuse(rw, http.StatusConflict, err.Error())
			return
		}
		select {
		case <-time.After(5 * time.Second):
		case <-r.Context().Done():
		}
		pprof.StopCPUProfile()
	default:
		refuse(rw, http.StatusBadRequest, fmt.Sprintf("There is no profile %.20q.", what))
	}
}
