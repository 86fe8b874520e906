package main

import (
	"fmt"
	"os"
	"strings"
)

// readAuth reads names and passwords from a file like the one of memcached -Y: a
// name, a colon and a password on each line, and nothing else. No file means that
// nobody is asked who they are.
func readAuth(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	users := make(map[string]string)
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		name, password, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch _, twice := users[name]; {
		case name == "" || password == "": // the line may be a password: it is not shown
			return nil, fmt.Errorf("%s, line %d: want name:password, and no other lines", path, n)
		case strings.Contains(name, " "):
			return nil, fmt.Errorf("%s, line %d: a name has no spaces", path, n)
		case twice:
			return nil, fmt.Errorf("%s, line %d: %s has a password already", path, n, name)
		}
		users[name] = password
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("%s: there are no users in it", path)
	}
	return users, nil
}
