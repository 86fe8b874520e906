package webv4

// Class is how much a call matters when not all can be served.
type Class int

const (
	Critical Class = iota // served as long as anything is
	Ordinary              // the default
	Low                   // the first to be refused
)

var classNames = [...]string{"critical", "normal", "low"}

// String returns what a class tag calls the class.
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return "unknown"
	}
	return classNames[c]
}
