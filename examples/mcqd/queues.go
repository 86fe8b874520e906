package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// readQueues reads what queues do with their messages from a file like this one:
//
//	{
//	  "default": {"max_length": 1000000, "max_attempts": 5, "dead_letters": "dead"},
//	  "queues": {
//	    "mail": {"max_age": "24h", "dedupe_window": "1h"},
//	    "news": {"max_length": 1000, "drop_oldest": true},
//	    "feed": {"fan_out": true},
//	    "feed+app": {"max_bytes": 1000000000}
//	  }
//	}
//
// All fields are here, and mean what those of mcq.QueueOptions do; 0 and "0s" are no
// limit, and no window. What a queue leaves out is as the default has it, and so it is
// for a subscriber, here feed+app. No file means no limits.
func readQueues(path string) (fallback mcq.QueueOptions, queues map[string]mcq.QueueOptions, err error) {
	if path == "" {
		return fallback, nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fallback, nil, err
	}
	r := &queueReader{dec: json.NewDecoder(bytes.NewReader(data)), queues: make(map[string][]setting)}
	r.dec.UseNumber()
	if err := r.read(); err != nil {
		read := data[:r.dec.InputOffset()]
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			read, err = data, io.ErrUnexpectedEOF
		}
		line := 1 + bytes.Count(read, []byte{'\n'})
		return fallback, nil, fmt.Errorf("%s, line %d: %w", path, line, err)
	}
	fallback, err = apply(mcq.QueueOptions{}, r.fallback)
	if err != nil {
		return fallback, nil, fmt.Errorf("%s: default: %w", path, err)
	}
	queues = make(map[string]mcq.QueueOptions)
	for _, name := range slices.Sorted(maps.Keys(r.queues)) {
		if queues[name], err = apply(fallback, r.queues[name]); err != nil {
			return fallback, nil, fmt.Errorf("%s: queue %s: %w", path, name, err)
		}
	}
	return fallback, queues, nil
}

// setting sets one field.
type setting func(o *mcq.QueueOptions)

// apply returns o with the settings.
func apply(o mcq.QueueOptions, settings []setting) (mcq.QueueOptions, error) {
	for _, set := range settings {
		set(&o)
	}
	if o.DropOldest && o.MaxLength == 0 && o.MaxBytes == 0 {
		return o, errors.New("drop_oldest: needs max_length or max_bytes, or it is never full")
	}
	return o, nil
}

// queueReader reads the file token by token, so that it knows where it is.
type queueReader struct {
	dec      *json.Decoder
	fallback []setting
	queues   map[string][]setting
}

func (r *queueReader) read() error {
	err := r.object("the file", func(name string) (err error) {
		switch name {
		case "default":
			r.fallback, err = r.settings(name)
			return err
		case "queues":
			return r.object(name, func(queue string) (err error) {
				if err := mcq.CheckName(queue); err != nil {
					return err
				}
				r.queues[queue], err = r.settings("queue " + queue)
				return err
			})
		}
		return fmt.Errorf("unknown field %q: want default or queues", name)
	})
	if err != nil {
		return err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return errors.New("there is more behind the end")
	}
	return nil
}

// object reads an object; each reads the value of a name.
func (r *queueReader) object(what string, each func(name string) error) error {
	start, err := r.dec.Token()
	if err != nil {
		return err
	}
	if start != json.Delim('{') {
		return fmt.Errorf("%s: want an object, {...}", what)
	}
	seen := make(map[string]bool)
	for r.dec.More() {
		name, err := r.dec.Token()
		if err != nil {
			return err
		}
		if seen[name.(string)] {
			return fmt.Errorf("%s: %q is there twice", what, name)
		}
		seen[name.(string)] = true
		if err := each(name.(string)); err != nil {
			return err
		}
	}
	_, err = r.dec.Token()
	return err
}

// settings reads those of one queue, or the default.
func (r *queueReader) settings(of string) (all []setting, err error) {
	err = r.object(of, func(name string) error {
		read, ok := queueFields[name]
		if !ok {
			return fmt.Errorf("%s: unknown field %q", of, name)
		}
		var v any
		if err := r.dec.Decode(&v); err != nil {
			return err
		}
		set, err := read(v)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", of, name, err)
		}
		all = append(all, set)
		return nil
	})
	return all, err
}

// queueFields are what can be said of a queue, each with what makes a setting of its value.
var queueFields = map[string]func(v any) (setting, error){
	"max_length":    number(func(o *mcq.QueueOptions, n int64) { o.MaxLength = int(n) }),
	"max_bytes":     number(func(o *mcq.QueueOptions, n int64) { o.MaxBytes = n }),
	"drop_oldest":   yesNo(func(o *mcq.QueueOptions, on bool) { o.DropOldest = on }),
	"max_age":       duration(func(o *mcq.QueueOptions, d time.Duration) { o.MaxAge = d }),
	"max_attempts":  number(func(o *mcq.QueueOptions, n int64) { o.MaxAttempts = int(n) }),
	"dead_letters":  deadLetters,
	"dedupe_window": duration(func(o *mcq.QueueOptions, d time.Duration) { o.DedupeWindow = cmp.Or(d, -1) }),
	"fan_out":       yesNo(func(o *mcq.QueueOptions, on bool) { o.FanOut = on }),
}

func number(set func(*mcq.QueueOptions, int64)) func(any) (setting, error) {
	return func(v any) (setting, error) {
		text, _ := v.(json.Number)
		n, err := text.Int64()
		if err != nil || n < 0 || int64(int(n)) != n {
			return nil, wrong(v, "a whole number, 0 or more")
		}
		return func(o *mcq.QueueOptions) { set(o, n) }, nil
	}
}

func yesNo(set func(*mcq.QueueOptions, bool)) func(any) (setting, error) {
	return func(v any) (setting, error) {
		on, ok := v.(bool)
		if !ok {
			return nil, wrong(v, "true or false")
		}
		return func(o *mcq.QueueOptions) { set(o, on) }, nil
	}
}

func duration(set func(*mcq.QueueOptions, time.Duration)) func(any) (setting, error) {
	return func(v any) (setting, error) {
		text, _ := v.(string)
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, wrong(v, `a duration like "24h" or "90s", 0 or more`)
		}
		return func(o *mcq.QueueOptions) { set(o, d) }, nil
	}
}

func deadLetters(v any) (setting, error) {
	name, ok := v.(string)
	if !ok {
		return nil, wrong(v, `the name of a queue, or ""`)
	}
	if strings.Contains(name, "+") {
		return nil, fmt.Errorf("%q: nothing can be put to a subscriber", name)
	}
	if name != "" {
		if err := mcq.CheckName(name); err != nil {
			return nil, err
		}
	}
	return func(o *mcq.QueueOptions) { o.DeadLetters = name }, nil
}

// wrong says what a value should be.
func wrong(v any, want string) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return fmt.Errorf("%.80s: want %s", text, want)
}
