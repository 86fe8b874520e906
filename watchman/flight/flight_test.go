package flight_test

import (
	"bytes"
	"errors"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman/flight"
)

func recorder(t *testing.T, opts *flight.Options) *flight.Recorder {
	t.Helper()
	r, err := flight.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// isTrace reports whether b begins as the runtime's traces do.
func isTrace(b []byte) bool {
	return bytes.HasPrefix(b, []byte("go 1.")) && bytes.Contains(b[:16], []byte("trace"))
}

func TestSnapshots(t *testing.T) {
	r := recorder(t, &flight.Options{Keep: 2, Every: time.Nanosecond})
	if _, err := r.Snapshot("too early"); !errors.Is(err, flight.ErrOff) || r.Running() || r.Trigger("too early") {
		t.Fatalf("a recorder that does not run gave %v", err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil || !r.Running() {
		t.Errorf("started twice: %v", err)
	}
	for _, why := range []string{"one", "two", strings.Repeat("three ", 200)} {
		if _, err := r.Snapshot(why); err != nil {
			t.Fatal(err)
		}
	}
	list := r.Snapshots()
	if len(list) != 2 || list[0].ID != 3 || len(list[0].Reason) != 500 || list[1].Reason != "two" || list[1].Bytes == 0 {
		t.Fatalf("kept %+v", list)
	}
	var b bytes.Buffer
	if err := r.WriteSnapshot(&b, 3); err != nil || b.Len() != list[0].Bytes || !isTrace(b.Bytes()) {
		t.Errorf("%v, %d bytes: %.20q", err, b.Len(), b.Bytes())
	}
	if err := r.WriteSnapshot(&b, 1); !errors.Is(err, flight.ErrNoSnapshot) {
		t.Errorf("one that had to go: %v", err)
	}
	if s := r.Stats(); s.Taken != 3 || s.Limited != 2 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	r.Stop()
	if _, err := r.Snapshot("too late"); !errors.Is(err, flight.ErrOff) || len(r.Snapshots()) != 2 {
		t.Errorf("after Stop: %v, %d snapshots", err, len(r.Snapshots()))
	}
}

func TestTriggerIsLimited(t *testing.T) {
	r := recorder(t, &flight.Options{Every: time.Hour})
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for range 10 {
		if r.Trigger("trouble") {
			taken++
		}
	}
	r.Stop() // waits for it
	if s := r.Stats(); taken != 1 || s.Taken != 1 || s.Limited != 9 {
		t.Errorf("%d taken, %+v", taken, s)
	}
}

func TestBytesAreBounded(t *testing.T) {
	r := recorder(t, &flight.Options{KeepBytes: 100})
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Snapshot("large"); err == nil || len(r.Snapshots()) != 0 || r.Stats().Failed != 1 {
		t.Errorf("%v, %+v", err, r.Stats())
	}
}

// There is one in a process; somebody else's is no reason to fail badly.
func TestOnlyOneRuns(t *testing.T) {
	other := trace.NewFlightRecorder(trace.FlightRecorderConfig{})
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	r := recorder(t, nil)
	if err := r.Start(); err == nil || r.Running() {
		t.Errorf("a second recorder: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	r := recorder(t, &flight.Options{Every: time.Nanosecond, Keep: 3})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				switch i {
				case 0:
					_ = r.Start()
				case 1:
					r.Trigger("x")
				case 2:
					r.Stop()
				default:
					for _, s := range r.Snapshots() {
						_ = r.WriteSnapshot(&bytes.Buffer{}, s.ID)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.Snapshots()); n > 3 {
		t.Errorf("%d snapshots", n)
	}
}

func TestNilAndBadOptions(t *testing.T) {
	var r *flight.Recorder
	r.Stop()
	if r.Running() || r.Trigger("x") || r.Snapshots() != nil || r.Stats() != (flight.Stats{}) || r.WriteSnapshot(nil, 1) == nil {
		t.Error("a nil Recorder did something")
	}
	if _, err := flight.New(&flight.Options{Keep: -1}); err == nil {
		t.Error("a negative Keep was taken")
	}
}

// BenchmarkRecording is a hand-over between two goroutines, the dearest that a
// program can do for a recorder, with it on and off.
func BenchmarkRecording(b *testing.B) {
	for _, on := range []bool{false, true} {
		name := "off"
		if on {
			name = "on"
		}
		b.Run(name, func(b *testing.B) {
			r, err := flight.New(nil)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			if on {
				if err := r.Start(); err != nil {
					b.Fatal(err)
				}
			}
			ping, pong := make(chan int), make(chan int)
			go func() {
				for v := range ping {
					pong <- v
				}
			}()
			defer close(ping)
			for b.Loop() {
				ping <- 1
				<-pong
			}
		})
	}
}
