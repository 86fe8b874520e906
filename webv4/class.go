package webv4

import (
	"fmt"
	"slices"
)

// Class is how much a call matters when not all can be served.
type Class int

const (
	Critical Class = iota // served as long as anything is
	Ordinary              // the default
	Low                   // the first to be refused
)

var classNames = [...]string{"critical", "normal", "low"}

// String returns what a class tag calls the class; "none" for what is no class.
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return "none"
	}
	return classNames[c]
}

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's name.
func (c *Class) UnmarshalText(text []byte) error {
	i := slices.Index(classNames[:], string(text))
	if i < 0 {
		if string(text) != "none" {
			return fmt.Errorf("webv4: class %.40q: want critical, normal, low or none", text)
		}
	}
	*c = Class(i)
	return nil
}
