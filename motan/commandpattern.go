package motan

import (
	"fmt"
	"path"
	"strings"
)

// matchPattern says whether a service fits the pattern of a command: names, which
// may end in *, joined by |, by & and by !, which bind ever closer, and by
// parentheses.
func matchPattern(pattern, service string) (bool, error) {
	p := patternReader{rest: pattern, service: service}
	matches, ok := p.either(0)
	if p.space(); !ok || p.rest != "" {
		return false, fmt.Errorf("pattern %q: want names and !, &, |, ( and ) between them at byte %d", pattern, len(pattern)-len(p.rest))
	}
	return matches, nil
}

// patternReader evaluates a pattern while it reads it. Its methods return false for
// ok where it makes no sense.
type patternReader struct {
	rest    string
	service string
}

const patternOperators = "!&|()"

func (p *patternReader) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// takes reads one operator if it is next.
func (p *patternReader) takes(operator string) (found bool) {
	p.space()
	p.rest, found = strings.CutPrefix(p.rest, operator)
	return found
}

func (p *patternReader) either(depth int) (matches, ok bool) {
	matches, ok = p.both(depth)
	for ok && p.takes("|") {
		var right bool
		right, ok = p.both(depth)
		matches = matches || right
	}
	return matches, ok
}

func (p *patternReader) both(depth int) (matches, ok bool) {
	matches, ok = p.one(depth)
	for ok && p.takes("&") {
		var right bool
		right, ok = p.one(depth)
		matches = matches && right
	}
	return matches, ok
}

func (p *patternReader) one(depth int) (matches, ok bool) {
	if depth >= maxDepth {
		return false, false
	}
	switch {
	case p.takes("!"):
		matches, ok = p.one(depth + 1)
		return !matches, ok
	case p.takes("("):
		matches, ok = p.either(depth + 1)
		return matches, ok && p.takes(")")
	}
	end := strings.IndexAny(p.rest, patternOperators+" \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	name := p.rest[:end]
	if name == "" {
		return false, false
	}
	p.rest = p.rest[end:]
	if prefix, any := strings.CutSuffix(name, "*"); any && strings.HasPrefix(p.service, prefix) {
		return true, true
	}
	matches, err := path.Match(name, p.service)
	return matches, err == nil
}
