// Package modeltest runs random operations on queues and on a model of them side by
// side. A [Kind] says what is particular to the queues of one engine, and [Kind.Test]
// runs it: if an engine does what the model does not, it says with which seed, and the
// fewest operations that it finds with which it still happens.
//
// In reading order: modeltest.go, shorten.go, run.go, model.go.
package modeltest

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// SeedEnv is the variable that repeats a run.
const SeedEnv = "MCQ_TEST_SEED"

// Kind is what is particular to the queues of an engine.
type Kind struct {
	// Names are those of Options that are used; with some the engine means something else.
	Names []string

	// Virtual says that time is synctest's: it passes between operations. Otherwise a lease
	// that is to run out while the test runs is one of Soon, and that is waited for at once;
	// with 0 nothing ends in that time.
	Virtual bool
	Soon    time.Duration

	// OneByOne says that of several messages that are put some may be stored and others not.
	OneByOne bool

	// Cluster says that the queues are jetqueue's: after its lease a message is nobody's;
	// a full queue may have room later; where delayed messages stand is not the same. What
	// is given back is left out: the server forgets to deliver it, until Options.Failover
	// is over, when what is acknowledged is removed meanwhile.
	Cluster bool
}

// Engine is queues to be tested.
type Engine struct {
	Backend mcq.Backend                      // of Broker, Client or Cluster
	Pause   func(name string, on bool) error // pauses a queue, or ends that
	Reopen  func() (mcq.Backend, error)      // nil where that is no operation
}

// kinds of queues, by name.
var kinds = map[string]struct {
	options          mcq.QueueOptions
	ttl, delay, keys bool
}{
	"a":           {ttl: true, keys: true},
	"a+s":         {},
	"a+t":         {},
	"b":           {ttl: true, delay: true},
	"keys":        {options: mcq.QueueOptions{DedupeWindow: 4500 * time.Millisecond}, keys: true, delay: true},
	"length":      {options: mcq.QueueOptions{MaxLength: 8}, ttl: true, keys: true},
	"bytes":       {options: mcq.QueueOptions{MaxBytes: 400}, ttl: true, delay: true},
	"newest":      {options: mcq.QueueOptions{MaxLength: 8, DropOldest: true}, delay: true, keys: true},
	"newest+s":    {options: mcq.QueueOptions{MaxLength: 4, DropOldest: true}},
	"last":        {options: mcq.QueueOptions{MaxBytes: 400, DropOldest: true}, delay: true},
	"aging":       {options: mcq.QueueOptions{MaxAge: 3500 * time.Millisecond}, ttl: true, delay: true},
	"tries":       {options: mcq.QueueOptions{MaxAttempts: 2, DeadLetters: "dead"}, ttl: true},
	"dead":        {},
	"once":        {options: mcq.QueueOptions{MaxAttempts: 1}, delay: true},
	"crowded":     {options: mcq.QueueOptions{MaxAttempts: 2, DeadLetters: "graves"}},
	"graves":      {options: mcq.QueueOptions{MaxLength: 3}},
	"everybody":   {options: mcq.QueueOptions{FanOut: true}, delay: true},
	"everybody+s": {},
}

// Names are all, but for those that the machine's clock would change at any time.
func Names(virtual bool) []string {
	return slices.DeleteFunc(sorted(kinds), func(name string) bool {
		o := kinds[name].options
		return !virtual && o.MaxAge+o.DedupeWindow > 0
	})
}

// Options are what the engine must tell its queues.
func (k *Kind) Options() map[string]mcq.QueueOptions {
	all := make(map[string]mcq.QueueOptions)
	for name, kind := range kinds {
		if o := kind.options; !k.Cluster || slices.Contains(k.Names, name) {
			all[name] = o
		}
	}
	return all
}

// Step is one operation; what it does with which messages depends on those before.
type Step struct {
	op    int
	queue int
	seed  uint64
}

const (
	opPut = iota
	opLease
	opTake
	opAck
	opNack
	opReject
	opExtend
	opPurge
	opPeek
	opDrop
	opPause
	opReopen
	opLook
	opWait
)

// often is how often each of them is done.
var often = [...]int{opPut: 30, opLease: 22, opTake: 8, opAck: 12, opNack: 8, opReject: 4, opExtend: 4, opPurge: 1, opPeek: 4, opDrop: 1, opPause: 2, opReopen: 2, opLook: 3, opWait: 8}

func randomSteps(seed uint64, n int) []Step {
	rnd := rand.New(rand.NewPCG(seed, 0))
	var deck []int
	for op, times := range often {
		for range times {
			deck = append(deck, op)
		}
	}
	// Several in a row are for the same queue: it sees more of each other.
	list := make([]Step, n)
	queue := 0
	for i := range list {
		if rnd.IntN(4) == 0 {
			queue = rnd.IntN(1 << 20)
		}
		list[i] = Step{deck[rnd.IntN(len(deck))], queue, rnd.Uint64()}
	}
	return list
}

// Test runs a sequence of n steps for each of so many seeds. open is called with what is
// to be done with an engine, which it opens and closes; it returns that one's error.
func (k Kind) Test(t *testing.T, runs, n int, open func(t *testing.T, use func(Engine) error) error) {
	seed := rand.Uint64()
	if v := os.Getenv(SeedEnv); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
		runs = 1
	}
	for i := range uint64(runs) {
		if said, err := k.Run(t, seed+i, n, open); err != nil {
			t.Fatalf("%s=%d: %v, after\n%s", SeedEnv, seed+i, err, strings.Join(said, "\n"))
		}
	}
}
