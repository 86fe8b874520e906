//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// eraseLine makes what is printed next replace the terminal's current line.
const eraseLine = "\r\x1b[K"

func onTerminal() bool {
	st, err := os.Stdout.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// progress draws a line about the job twice a second until the returned
// function is called. Where standard output is no terminal it prints a plain
// line every five seconds instead.
func (j *job) progress() (stop func()) {
	terminal := onTerminal()
	period := 5 * time.Second
	if terminal {
		period = 500 * time.Millisecond
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		memory := time.NewTicker(time.Second)
		defer memory.Stop()
		before, at := int64(0), time.Now()
		for {
			select {
			case <-quit:
				j.sampleMemory()
				return
			case <-memory.C:
				j.sampleMemory()
			case now := <-tick.C:
				done := j.acked.Load() + j.refused.Load()
				rate := float64(done-before) / now.Sub(at).Seconds()
				before, at = done, now
				line := j.progressLine(done, rate)
				if terminal {
					fmt.Print(eraseLine, line)
				} else {
					fmt.Println(line)
				}
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		if terminal {
			fmt.Print(eraseLine)
		}
	}
}

func (j *job) progressLine(done int64, rate float64) string {
	const width = 24
	share := float64(done) / float64(j.opt.posts)
	filled := int(share * width)
	backlog := "-" // the queue is away
	if n, err := j.backlog(); err == nil {
		backlog = fmt.Sprint(n)
	}
	return fmt.Sprintf("%7.1fs [%s%s] %5.1f%%  %6.0f posts/s  p99 %.1fms  backlog %s",
		time.Since(j.began).Seconds(), strings.Repeat("=", filled), strings.Repeat(" ", width-filled),
		100*share, rate, milliseconds(j.all.percentile(99)), backlog)
}

func (j *job) sampleMemory() { j.peakMemory = max(j.peakMemory, j.fleet.usage().memory) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
