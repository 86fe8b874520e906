package mcq

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// keyOptions is a key of the memcached protocol taken apart: the queue's name
// and the options behind it, separated by slashes. What a command has no sense for
// is refused, since the wrong option mostly means the wrong command.
//
//	lease=SECONDS  hand out, do not remove; the cas value is the message's id
//	receipt        the cas value is the lease's Message.Receipt; what takes an id takes it
//	n=COUNT        up to so many messages; of peek too
//	t=MS           wait so long for the first one
//	h              bodies have an envelope with the trace, the times and the key in
//	               front; of eset: the time comes behind the id that is answered
//	delay=SECONDS  of set: hand out after so long
//	key=TEXT       of set: store once in the queue's window
//	ack=IDS        remove leased messages: ids and from-to ranges, separated by commas
//	nack=IDS       give leased messages back
//	reject=IDS     move leased messages to the dead letters
//	reason=TEXT    of reject and nack: why, with %XX for what a key cannot hold
//	id=ID          the leased message that touch is about
//	open           hand out to this connection, as kestrel does
//	close          remove what this connection has open
//	abort          give back what this connection has open
//	peek           show the next message and leave it there
//	count          of flush: answer how many messages there were
type keyOptions struct {
	name     []byte
	given    option // those that are there
	lease    time.Duration
	receipt  bool
	n        int
	wait     time.Duration
	envelope bool
	ack      []byte
	nack     []byte
	reject   []byte
	reason   string
	id       uint64
	delay    time.Duration
	dedupe   []byte
	open     bool
	close    bool
	abort    bool
	peek     bool
	count    bool
}

// option is a set of options.
type option uint32

const (
	optionLease option = 1 << iota
	optionReceipt
	optionN
	optionT
	optionH
	optionDelay
	optionKey
	optionAck
	optionNack
	optionReject
	optionID
	optionOpen
	optionClose
	optionAbort
	optionPeek
	optionReason
	optionCount

	optionsOfNone    option = 0
	optionsOfGet            = optionLease | optionReceipt | optionN | optionT | optionH | optionOpen | optionClose | optionAbort | optionPeek
	optionsOfMetaGet        = optionLease | optionReceipt | optionOpen | optionClose | optionAbort | optionPeek
	optionsOfSet            = optionDelay | optionKey | optionH
	optionsOfDelete         = optionAck | optionNack | optionReject | optionReason
	optionsOfFlush          = optionCount
	optionsOfTouch          = optionID
	anyOption               = ^option(0)
)

var errOption = errors.New("mcq: bad queue option")

const (
	maxWait  = 30 * time.Second
	maxBatch = 4096
	maxIDs   = 65536
)

// parse takes key apart; the slices point into it. Options that are not allowed
// are errors.
func (o *keyOptions) parse(key []byte, allowed option) error {
	*o = keyOptions{}
	name, rest, more := bytes.Cut(key, slash)
	o.name = name
	for more {
		var word []byte
		word, rest, more = bytes.Cut(rest, slash)
		opt, value, _ := bytes.Cut(word, equals)
		var err error
		var v uint64
		switch string(opt) {
		case "lease":
			o.given |= optionLease
			v, err = number(value, 12*3600)
			o.setLease(v)
			if v == 0 && err == nil {
				err = errOption
			}
		case "n":
			o.given |= optionN
			v, err = number(value, maxBatch)
			o.n = int(v)
		case "t":
			o.given |= optionT
			v, err = number(value, uint64(maxWait/time.Millisecond))
			o.wait = time.Duration(v) * time.Millisecond
		case "h":
			o.given |= optionH
			o.envelope = true
		case "ack":
			o.given |= optionAck
			o.ack = value
		case "nack":
			o.given |= optionNack
			o.nack = value
		case "reject":
			o.given |= optionReject
			o.reject = value
		case "reason":
			o.given |= optionReason
			o.reason, err = url.PathUnescape(string(value))
		case "delay":
			o.given |= optionDelay
			v, err = number(value, uint64(maxDelay/time.Second))
			o.delay = time.Duration(v) * time.Second
		case "key":
			o.given |= optionKey
			if o.dedupe = value; len(value) == 0 {
				err = errOption
			}
		case "receipt", "open", "close", "abort", "peek", "count":
			if len(value) > 0 {
				err = errOption
			}
			switch opt[0] {
			case 'r':
				o.receipt, o.given = true, o.given|optionReceipt
			case 'o':
				o.open, o.given = true, o.given|optionOpen
			case 'c':
				if opt[1] == 'o' {
					o.count, o.given = true, o.given|optionCount
				} else {
					o.close, o.given = true, o.given|optionClose
				}
			case 'a':
				o.abort, o.given = true, o.given|optionAbort
			case 'p':
				o.peek, o.given = true, o.given|optionPeek
			}
		case "id":
			o.given |= optionID
			o.id, err = number(value, 1<<63)
		default:
			err = errOption
		}
		if err != nil {
			return fmt.Errorf("%w: %.40q", errOption, word)
		}
	}
	if o.given&^allowed != 0 {
		return fmt.Errorf("%w: %.80q: not one of this command's", errOption, key)
	}
	// What kestrel has no sense for, and its options together with ours.
	open := o.open || o.close || o.abort
	if o.abort && (o.open || o.close) || o.peek && open || o.lease > 0 && (open || o.peek) || o.n > 0 && open || o.reason != "" && o.reject == nil && o.nack == nil {
		return fmt.Errorf("%w: %.80q: options do not go together", errOption, key)
	}
	return nil
}

// number is what a reader who asked with these options names m by.
func (o *keyOptions) number(m *Message) uint64 {
	if o.receipt {
		return m.handle()
	}
	return m.ID
}

func (o *keyOptions) setLease(seconds uint64) { o.lease = time.Duration(seconds) * time.Second }

var slash, equals, comma, dash = []byte{'/'}, []byte{'='}, []byte{','}, []byte{'-'}

func number(b []byte, most uint64) (uint64, error) {
	v, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || v > most {
		return 0, errOption
	}
	return v, nil
}

// parseIDs reads a list of ids and ranges: 7,9-12.
func parseIDs(b []byte) ([]uint64, error) { return appendParsedIDs(nil, b) }

func appendParsedIDs(ids []uint64, b []byte) ([]uint64, error) {
	for len(b) > 0 {
		var word []byte
		word, b, _ = bytes.Cut(b, comma)
		first, last, isRange := bytes.Cut(word, dash)
		from, err := number(first, 1<<63)
		to := from
		if err == nil && isRange {
			to, err = number(last, 1<<63)
		}
		if err != nil || from == 0 || to < from || to-from >= maxIDs || len(ids)+int(to-from) >= maxIDs {
			return nil, fmt.Errorf("%w: ids %.40q", errOption, word)
		}
		for id := from; id <= to; id++ {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: no ids", errOption)
	}
	return ids, nil
}

// appendIDs writes ids, which must be ascending, in the form parseIDs reads, as
// many as fit into limit bytes, and returns those that did not.
func appendIDs(b []byte, ids []uint64, limit int) ([]byte, []uint64) {
	const longest = 2*20 + 2 // comma, two ids, dash
	start := len(b)
	for len(ids) > 0 && len(b)-start+longest <= limit {
		n := 1
		for n < len(ids) && ids[n] == ids[0]+uint64(n) {
			n++
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, ids[0], 10)
		if n > 1 {
			b = append(b, '-')
			b = strconv.AppendUint(b, ids[n-1], 10)
		}
		ids = ids[n:]
	}
	return b, ids
}
