package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// The modes of a decision.
const (
	ModeObserve = "observe" // nothing was changed: the policy does not enforce
	ModeAuto    = "auto"    // the change was made
	ModeRefused = "refused" // the change was not possible: somebody else owns the setting
)

// Decision is what a policy did, or would have done, and why.
type Decision struct {
	ID         uint64             `json:"id"`
	At         time.Time          `json:"at"`
	Policy     string             `json:"policy"`
	Objective  string             `json:"objective"`
	Mode       string             `json:"mode"`
	Setting    string             `json:"setting"`
	Before     float64            `json:"before"`
	After      float64            `json:"after"`
	TTL        time.Duration      `json:"ttl_ns,omitempty"`
	Reason     string             `json:"reason"`
	Window     Counts             `json:"window"` // what it was decided on
	Enter      float64            `json:"enter"`
	Leave      float64            `json:"leave"`
	Burn       float64            `json:"burn_1h"`
	Traces     []watchman.TraceID `json:"traces,omitempty"` // kept ones of the operation
	ErrorGroup string             `json:"error_group,omitempty"`
	Outcome    *Outcome           `json:"outcome,omitempty"` // once it is known
}

// Outcome is what became of a decision: measured a few windows later, or when
// the policy decides again before that.
type Outcome struct {
	After     time.Duration `json:"after_ns"` // since the decision
	Objective string        `json:"objective"`
	Before    Counts        `json:"before"` // of that objective, just before the decision
	Now       Counts        `json:"now"`    // and when the outcome was measured
	Helped    bool          `json:"helped"` // the bad ratio fell by a tenth or more, or is below Enter
	Reverted  bool          `json:"reverted"`
}

// maxDecisions bounds the decisions in memory.
const maxDecisions = 256

// journal keeps decisions, and writes each as a line of JSON, again with its
// outcome. Every line carries a hash over itself and the line before, so that
// a line taken out or changed shows.
type journal struct {
	mu    sync.Mutex
	list  []Decision // newest last
	total uint64

	writeMu sync.Mutex // keeps lines whole; held while writing, never together with mu
	out     io.Writer
	hash    [sha256.Size]byte
	failed  uint64
}

func (j *journal) add(d Decision) uint64 {
	j.mu.Lock()
	j.total++
	d.ID = j.total
	if len(j.list) == maxDecisions {
		copy(j.list, j.list[1:])
		j.list = j.list[:maxDecisions-1]
	}
	j.list = append(j.list, d)
	j.mu.Unlock()
	j.write(d)
	return d.ID
}

func (j *journal) outcome(id uint64, o Outcome) {
	j.mu.Lock()
	var changed *Decision
	for i := range j.list {
		if j.list[i].ID == id {
			j.list[i].Outcome = &o
			d := j.list[i]
			changed = &d
		}
	}
	j.mu.Unlock()
	if changed != nil {
		j.write(*changed)
	}
}

type line struct {
	Decision
	Hash string `json:"hash"` // of the line before's hash and this decision's JSON
}

func (j *journal) write(d Decision) {
	if j.out == nil {
		return
	}
	j.writeMu.Lock()
	defer j.writeMu.Unlock()
	b, err := json.Marshal(d)
	if err == nil {
		j.hash = sha256.Sum256(append(j.hash[:], b...))
		b, err = json.Marshal(line{d, hex.EncodeToString(j.hash[:])})
	}
	if err == nil {
		_, err = j.out.Write(append(b, '\n'))
	}
	if err != nil {
		j.failed++
	}
}

// Verify reads what a Loop wrote to Options.Log and checks the chain of hashes.
// It returns how many lines it read; the error names the first that is wrong.
func Verify(r io.Reader) (int, error) {
	dec := json.NewDecoder(r)
	var hash [sha256.Size]byte
	for n := 1; ; n++ {
		var l line
		if err := dec.Decode(&l); err == io.EOF {
			return n - 1, nil
		} else if err != nil {
			return n - 1, fmt.Errorf("control: decision log, line %d: %w", n, err)
		}
		b, err := json.Marshal(l.Decision)
		if err != nil {
			return n - 1, fmt.Errorf("control: decision log, line %d: %w", n, err)
		}
		hash = sha256.Sum256(append(hash[:], b...))
		if hex.EncodeToString(hash[:]) != l.Hash {
			return n - 1, fmt.Errorf("control: decision log, line %d: the hash does not match", n)
		}
	}
}
