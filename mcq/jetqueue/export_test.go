package jetqueue

var (
	Token      = token
	ParseToken = parseToken
)
