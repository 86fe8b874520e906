package webv4

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
