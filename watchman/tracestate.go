package watchman

import (
	"slices"
	"strings"
)

// Limits of W3C Trace Context. A tracestate beyond them is dropped whole,
// because half a list would say something its writers did not.
const (
	maxStateMembers = 32
	maxStateBytes   = 8192 // far above the 512 that everybody must carry
)

// joinTracestate combines the lines of a tracestate field into one list and
// checks it: at most 32 members, keys by the grammar. Of members with the same
// key the first, which is the newest, stays. It returns "" for a list that is
// wrong anywhere else. One clean line is returned as it is.
func joinTracestate(lines []string) string {
	if len(lines) == 1 && oneStateMember(lines[0]) {
		return lines[0]
	}
	return joinStateMembers(lines)
}

// oneStateMember reports whether a line is one clean member, as that of a caller
// that nobody traces otherwise is.
func oneStateMember(line string) bool {
	key, value, ok := strings.Cut(line, "=")
	return ok && validStateKey(key) && validStateValue(value)
}

func joinStateMembers(lines []string) string {
	total := 0
	for _, l := range lines {
		total += len(l) + 1
	}
	if total > maxStateBytes {
		return ""
	}
	var members [maxStateMembers]string // those that stay
	var keys [maxStateMembers]string
	n, clean := 0, len(lines) == 1
	for _, line := range lines {
		for rest, more := line, true; more; {
			var m string
			m, rest, more = strings.Cut(rest, ",")
			trimmed := strings.Trim(m, " \t")
			if trimmed == "" {
				clean = false // empty members are allowed and dropped
				continue
			}
			if len(trimmed) != len(m) {
				clean = false
			}
			key, value, ok := strings.Cut(trimmed, "=")
			if !ok || !validStateKey(key) || !validStateValue(value) {
				return ""
			}
			if slices.Contains(keys[:n], key) {
				clean = false
				continue
			}
			if n == maxStateMembers {
				return ""
			}
			keys[n], members[n] = key, trimmed
			n++
		}
	}
	if n == 0 {
		return ""
	}
	if clean {
		return lines[0]
	}
	return strings.Join(members[:n], ",")
}

// validStateKey checks a key by Level 2: it starts with a lower-case letter or
// a digit, up to 256 characters of a-z 0-9 _ - * / @.
func validStateKey(k string) bool {
	if len(k) == 0 || len(k) > 256 || !lowerOrDigit(k[0]) {
		return false
	}
	for i := range len(k) {
		if c := k[i]; !lowerOrDigit(c) && c != '_' && c != '-' && c != '*' && c != '/' && c != '@' {
			return false
		}
	}
	return true
}

// validStateValue checks a value: 1 to 256 printable ASCII characters without
// comma and equals sign, not ending in a space.
func validStateValue(v string) bool {
	if len(v) == 0 || len(v) > 256 || v[len(v)-1] == ' ' {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c > 0x7e || c == ',' || c == '=' {
			return false
		}
	}
	return true
}

func lowerOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// stateKey is Heddle's own member of tracestate: the service that called.
const stateKey = "heddle"

// withCaller returns state with our member first, replacing an older one and
// dropping the last member if the list would get too long.
func withCaller(state, service string) string {
	if !validStateValue(service) {
		return state
	}
	var b strings.Builder
	b.Grow(len(state) + len(stateKey) + len(service) + 2)
	b.WriteString(stateKey + "=" + service)
	n := 1
	if state != "" {
		for m := range strings.SplitSeq(state, ",") {
			if strings.HasPrefix(m, stateKey+"=") || n == maxStateMembers {
				continue
			}
			n++
			b.WriteByte(',')
			b.WriteString(m)
		}
	}
	return b.String()
}

// callerOf is the service that our member of state names, "" if none does; alone
// says that there is no other member.
func callerOf(state string) (caller string, alone bool) {
	for rest, more := state, state != ""; more; {
		var m string
		m, rest, more = strings.Cut(rest, ",")
		if v, ok := strings.CutPrefix(m, stateKey+"="); ok {
			return v, len(m) == len(state)
		}
	}
	return "", false
}
