//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/heddle-go/heddle/examples/internal/feed"
	"github.com/heddle-go/heddle/examples/internal/ports"
	"github.com/heddle-go/heddle/watchman"
)

// feedArg as the first argument turns this program into one of the feed's processes.
const feedArg = "feed-process"

// startTime bounds how long a process may take to become ready.
const startTime = 60 * time.Second

// fleet is the feed as separate processes.
type fleet struct {
	cfg   feed.Config
	procs []*process
}

// process is one of them; restart replaces what runs behind it.
type process struct {
	name  string
	args  []string
	admin string
	log   string // file that takes its output

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended

	spent time.Duration // CPU time of the runs that ended
	runs  int
}

// startFleet starts web, two services, queue and processor on free ports.
func startFleet(ctx context.Context, data string) (*fleet, error) {
	addrs, err := ports.Free(10)
	if err != nil {
		return nil, err
	}
	f := &fleet{cfg: feed.Config{
		Data: data, Web: addrs[0], Services: addrs[1:3], Queue: addrs[3], Processor: addrs[4],
	}}
	common := []string{feedArg, "-data", data, "-web", f.cfg.Web, "-service", strings.Join(f.cfg.Services, ","),
		"-queue", f.cfg.Queue, "-processor", f.cfg.Processor}
	add := func(name string, args ...string) {
		admin := addrs[5+len(f.procs)]
		args = append(append([]string{}, common...), append(args, "-admin", admin)...)
		f.procs = append(f.procs, &process{name: name, args: args, admin: admin, log: filepath.Join(data, name+".log")})
	}
	add("queue", "-role", feed.RoleQueue)
	add("processor", "-role", feed.RoleProcessor)
	add("service-0", "-role", feed.RoleService, "-node", "0")
	add("service-1", "-role", feed.RoleService, "-node", "1")
	add("web", "-role", feed.RoleWeb)
	for _, p := range f.procs {
		if err := p.start(ctx); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

func (f *fleet) process(name string) *process {
	for _, p := range f.procs {
		if p.name == name {
			return p
		}
	}
	panic("newyear: no process " + name)
}

// start runs the process and waits until it says that it is ready.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, p.args...)
	cmd.Stderr = log
	cmd.SysProcAttr = processAttr()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	ready := make(chan struct{})
	go func() {
		defer close(done)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if strings.HasPrefix(line, feed.Ready) {
				close(ready)
				io.Copy(io.Discard, r)
				break
			}
			if err != nil {
				break
			}
		}
		cmd.Wait()
	}()
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.runs++
	p.mu.Unlock()

	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case <-ready:
		return nil
	case <-done:
		return fmt.Errorf("%s ended before it was ready: %s", p.name, p.lastLines())
	case <-timer.C:
		return fmt.Errorf("%s not ready after %v: %s", p.name, startTime, p.lastLines())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	cmd.Process.Kill()
	<-done
	p.settle(cmd)
}

// settle books the CPU time of a run that has ended.
func (p *process) settle(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == cmd && cmd.ProcessState != nil {
		p.spent += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		p.cmd = nil
	}
}

// lastLines is the end of the process's log, for an error message.
func (p *process) lastLines() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	if len(b) == 0 {
		return "it wrote nothing"
	}
	return strings.TrimSpace(string(b))
}

// stop ends the processes in the order in which they depend on each other.
func (f *fleet) stop() {
	for i := len(f.procs) - 1; i >= 0; i-- {
		p := f.procs[i]
		p.mu.Lock()
		cmd, done := p.cmd, p.done
		p.mu.Unlock()
		if cmd == nil {
			continue
		}
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			fmt.Fprintf(os.Stderr, "newyear: %s did not stop in 30 s, killing it\n", p.name)
			cmd.Process.Kill()
			<-done
		}
		p.settle(cmd)
	}
}

// trace collects the spans of one trace from every process.
func (f *fleet) trace(ctx context.Context, id watchman.TraceID) ([]watchman.SpanRecord, error) {
	var all []watchman.SpanRecord
	var errs []error
	for _, p := range f.procs {
		var spans []watchman.SpanRecord
		if err := getJSON(ctx, "http://"+p.admin+"/trace?id="+id.String(), &spans); err != nil {
			errs = append(errs, fmt.Errorf("traces of %s: %w", p.name, err))
		}
		all = append(all, spans...)
	}
	return all, errors.Join(errs...)
}

func getJSON(ctx context.Context, url string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(v)
}
