package motantest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// CommandTarget is a source of commands under test.
type CommandTarget struct {
	Source motan.CommandSource

	// Set makes command what the source has for a group; an empty one takes it away.
	Set func(group string, command []byte)
}

// TestCommandSource checks the rules of motan.CommandSource. open is called once for
// each part and cleans up by t.Cleanup. The groups are called motantest and motantest2,
// and have no commands then.
func TestCommandSource(t *testing.T, open func(t *testing.T) CommandTarget) {
	t.Run("current command before return", func(t *testing.T) { testCommandFirst(t, open(t)) })
	t.Run("changes", func(t *testing.T) { testCommandChanges(t, open(t)) })
	t.Run("what is no command", func(t *testing.T) { testNoCommand(t, open(t)) })
	t.Run("many watchers", func(t *testing.T) { testCommandMany(t, open(t)) })
	t.Run("command is the callee's", func(t *testing.T) { testCommandOwnership(t, open(t)) })
	t.Run("no updates after the end", func(t *testing.T) { testCommandEnd(t, open(t)) })
	t.Run("groups are kept apart", func(t *testing.T) { testCommandApart(t, open(t)) })
	t.Run("clients obey", func(t *testing.T) { testCommandObeyed(t, open(t)) })
}

// listener collects the commands that update is called with.
type listener struct{ recorder[string] }

func (l *listener) update(command []byte) {
	l.record(string(command))
	for i := range command { // rule 4: it is ours
		command[i] = '#'
	}
}

func listen(t *testing.T, ctx context.Context, target CommandTarget, group string) *listener {
	t.Helper()
	l := &listener{recorder[string]{t: t}}
	if err := target.Source.WatchCommands(ctx, group, l.update); err != nil {
		t.Fatalf("WatchCommands: %v", err)
	}
	if l.count() == 0 {
		t.Fatal("WatchCommands returned before it had called update")
	}
	return l
}

// wants waits until the last command is the given one.
func (l *listener) wants(command string) {
	l.t.Helper()
	for end := time.Now().Add(patience); l.last() != command; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("after %v the command is %q, want %q", patience, l.last(), command)
		}
	}
}

// order is the n-th of many commands.
func order(n int) string {
	return fmt.Sprintf(`{"clientCommandList":[{"index":%d,"pattern":"test.*","mergeGroups":["motantest"]}]}`, n)
}

func testCommandFirst(t *testing.T, target CommandTarget) {
	if got := listen(t, t.Context(), target, "motantest").last(); got != "" {
		t.Errorf("without a command it gave %q", got)
	}
	target.Set("motantest", []byte(order(1)))
	// A source may take its time to hear of it.
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got := listen(t, t.Context(), target, "motantest").last()
		if got == order(1) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v the first command is %q, want %q", patience, got, order(1))
		}
	}
}

func testCommandChanges(t *testing.T, target CommandTarget) {
	a, b := listen(t, t.Context(), target, "motantest"), listen(t, t.Context(), target, "motantest")
	both := func(command string) {
		t.Helper()
		target.Set("motantest", []byte(command))
		a.wants(command)
		b.wants(command)
	}
	both(order(1))
	both(order(2))
	both("") // taken back
	both(order(3))
	for i := range 20 { // in quick succession only the last one counts
		target.Set("motantest", []byte(order(100+i)))
	}
	both(order(200))
	both("")
	both(order(200)) // the same again
}

// Whether a command makes sense is for those who obey to say: they keep the one before.
func testNoCommand(t *testing.T, target CommandTarget) {
	l := listen(t, t.Context(), target, "motantest")
	for _, command := range []string{order(1), "{", order(2), "no command at all"} {
		target.Set("motantest", []byte(command))
		l.wants(command)
	}
}

func testCommandMany(t *testing.T, target CommandTarget) {
	target.Set("motantest", []byte(order(1)))
	listen(t, t.Context(), target, "motantest").wants(order(1))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			l := &listener{recorder[string]{t: t}}
			if err := target.Source.WatchCommands(t.Context(), "motantest", l.update); err != nil {
				t.Errorf("WatchCommands: %v", err)
			} else if got := l.last(); got != order(1) {
				t.Errorf("one of many got %q, want %q", got, order(1))
			}
		})
	}
	wg.Wait()
}

func testCommandOwnership(t *testing.T, target CommandTarget) {
	target.Set("motantest", []byte(order(1)))
	// The first one overwrites what it gets.
	a := listen(t, t.Context(), target, "motantest")
	a.wants(order(1))
	b := listen(t, t.Context(), target, "motantest")
	b.wants(order(1))
	target.Set("motantest", []byte(order(2)))
	a.wants(order(2))
	b.wants(order(2))
}

func testCommandEnd(t *testing.T, target CommandTarget) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended, other := listen(t, ctx, target, "motantest"), listen(t, t.Context(), target, "motantest")
	target.Set("motantest", []byte(order(1)))
	ended.wants(order(1))
	other.wants(order(1))
	cancel()
	// An update that was under way may finish.
	n := ended.count()
	for i := range 3 {
		target.Set("motantest", []byte(order(2+i)))
		other.wants(order(2 + i))
	}
	if more := ended.count() - n; more > 1 {
		t.Errorf("%d updates after the context was done", more)
	}
}

func testCommandApart(t *testing.T, target CommandTarget) {
	a, b := listen(t, t.Context(), target, "motantest"), listen(t, t.Context(), target, "motantest2")
	target.Set("motantest", []byte(order(1)))
	target.Set("motantest2", []byte(order(2)))
	a.wants(order(1))
	b.wants(order(2))
	target.Set("motantest", nil)
	a.wants("")
	b.wants(order(2))
}

// grouped lists one endpoint for each group.
type grouped struct{}

func (grouped) Watch(_ context.Context, _, group, _ string, update func([]motan.Endpoint)) error {
	update([]motan.Endpoint{{Addr: group + ":1"}})
	return nil
}

func testCommandObeyed(t *testing.T, target CommandTarget) {
	w := start(t, t.Context(), motan.Commanded(grouped{}, target.Source, nil), "test.Obey", "motantest", "1.0")
	w.wants("motantest:1")
	target.Set("motantest", []byte(`{"clientCommandList":[{"pattern":"test.*","mergeGroups":["motantest2"]}]}`))
	w.wants("motantest2:1")
	target.Set("motantest", []byte(`{"clientCommandList":[{"commandType":1,"pattern":"test.Obey"}]}`))
	w.wants()
	target.Set("motantest", nil)
	w.wants("motantest:1")
}
