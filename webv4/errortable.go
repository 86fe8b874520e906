package webv4

import (
	"cmp"
	"net/http"
	"slices"
)

// serviceErrors are the platform's errors of its services and of OAuth 1, by
// module: 200 and 201 statuses, 202 comments, 203 direct messages, 204 and 205
// users and relations, 206 lists, 207 tags, 208 trends, 211 accounts, 213 OAuth.
// Handlers return them with Errorf.
var serviceErrors = map[int]errorRow{
	20001: {http.StatusBadRequest, "ids missing"},
	20002: {http.StatusBadRequest, "uid missing"},
	20003: {http.StatusBadRequest, "no such user"},
	20005: {http.StatusBadRequest, "image type not supported: want JPG, GIF or PNG"},
	20006: {http.StatusBadRequest, "image too large"},
	20007: {http.StatusBadRequest, "multipart form without an image"},
	20008: {http.StatusBadRequest, "content empty"},
	20009: {http.StatusBadRequest, "too many ids"},
	20012: {http.StatusBadRequest, "text longer than 140 characters"},
	20013: {http.StatusBadRequest, "text longer than 300 characters"},
	20014: {http.StatusBadRequest, "parameters wrong, try again"},
	20015: {http.StatusForbidden, "account, address or application barred"},
	20016: {http.StatusBadRequest, "too often: wait before the next"},
	20017: {http.StatusBadRequest, "content resembles what was sent before"},
	20018: {http.StatusBadRequest, "content links to a barred site"},
	20019: {http.StatusBadRequest, "content is what was sent before"},
	20020: {http.StatusBadRequest, "content advertises"},
	20021: {http.StatusBadRequest, "content not allowed"},
	20022: {http.StatusForbidden, "unusual behaviour of this address"},
	20031: {http.StatusForbidden, "verification needed"},
	20032: {http.StatusBadRequest, "accepted, visible in a minute or two"},

	20101: {http.StatusBadRequest, "no such status"},
	20102: {http.StatusForbidden, "not your status"},
	20103: {http.StatusBadRequest, "your own status cannot be reposted"},
	20104: {http.StatusBadRequest, "status not allowed"},
	20109: {http.StatusBadRequest, "status id missing"},
	20111: {http.StatusBadRequest, "status text repeated"},

	20201: {http.StatusBadRequest, "no such comment"},
	20202: {http.StatusBadRequest, "comment not allowed"},
	20203: {http.StatusForbidden, "not your comment"},
	20204: {http.StatusBadRequest, "comment id missing"},

	20301: {http.StatusForbidden, "direct messages go to followers only"},
	20302: {http.StatusBadRequest, "direct message not allowed"},
	20303: {http.StatusForbidden, "not your direct message"},
	20305: {http.StatusBadRequest, "no such direct message"},
	20306: {http.StatusBadRequest, "direct message repeated"},
	20307: {http.StatusBadRequest, "direct message id wrong"},

	20401: {http.StatusBadRequest, "no such domain"},
	20402: {http.StatusBadRequest, "verifier wrong"},

	20501: {http.StatusBadRequest, "source or target user missing"},
	20502: {http.StatusBadRequest, "target user id or name wrong"},
	20503: {http.StatusForbidden, "you have to follow the user first"},
	20504: {http.StatusBadRequest, "you cannot follow yourself"},
	20505: {http.StatusBadRequest, "too many changes of relations"},
	20506: {http.StatusBadRequest, "followed already"},
	20507: {http.StatusForbidden, "verification code needed"},
	20508: {http.StatusForbidden, "the user's privacy settings do not allow it"},
	20521: {http.StatusBadRequest, "too many private friends"},
	20522: {http.StatusBadRequest, "no private friend"},
	20523: {http.StatusBadRequest, "followed privately already"},
	20524: {http.StatusBadRequest, "the user is on your blacklist"},
	20525: {http.StatusBadRequest, "too many friends"},
	20526: {http.StatusBadRequest, "followed too many today"},
	20527: {http.StatusBadRequest, "not followed"},
	20528: {http.StatusBadRequest, "no follower"},

	20601: {http.StatusBadRequest, "list name too long"},
	20602: {http.StatusBadRequest, "list description too long"},
	20603: {http.StatusBadRequest, "no such list"},
	20604: {http.StatusForbidden, "the list's owner only may do that"},
	20605: {http.StatusBadRequest, "list name or description not allowed"},
	20606: {http.StatusBadRequest, "there already"},
	20608: {http.StatusBadRequest, "list name taken"},
	20610: {http.StatusBadRequest, "private lists not supported"},
	20611: {http.StatusBadRequest, "list not created"},
	20612: {http.StatusBadRequest, "private lists only"},
	20613: {http.StatusBadRequest, "too many lists subscribed to"},
	20614: {http.StatusBadRequest, "too many lists"},
	20615: {http.StatusBadRequest, "too many members"},

	20701: {http.StatusBadRequest, "tag repeated"},
	20702: {http.StatusBadRequest, "too many tags"},
	20703: {http.StatusBadRequest, "tag not allowed"},

	20801: {http.StatusBadRequest, "trend name missing"},
	20802: {http.StatusBadRequest, "trend id missing"},

	21101: {http.StatusBadRequest, "domain parameter wrong"},
	21102: {http.StatusBadRequest, "phone number taken"},
	21103: {http.StatusBadRequest, "account has a phone number already"},
	21104: {http.StatusBadRequest, "verifier wrong"},

	21302: {http.StatusUnauthorized, "user name or password wrong"},
	21303: {http.StatusForbidden, "too many tries with a password"},
	21304: {http.StatusUnauthorized, "version rejected"},
	21305: {http.StatusUnauthorized, "parameter absent"},
	21306: {http.StatusUnauthorized, "parameter rejected"},
	21309: {http.StatusUnauthorized, "signature method rejected"},
	21311: {http.StatusUnauthorized, "consumer key unknown"},
	21312: {http.StatusUnauthorized, "consumer key refused"},
	21313: {http.StatusUnauthorized, "consumer key missing"},
	21314: {http.StatusUnauthorized, "token used"},
	21315: {http.StatusUnauthorized, "token expired"},
	21316: {http.StatusUnauthorized, "token revoked"},
	21317: {http.StatusUnauthorized, "token rejected"},
	21318: {http.StatusUnauthorized, "verifier failed"},
	21319: {http.StatusUnauthorized, "authorization revoked"},
}

// ErrorCode is a row of the platform's table of errors.
type ErrorCode struct {
	Code   int
	Status int    // of HTTP
	Text   string // what clients see, before the details
}

// ErrorTable lists all codes that Errorf knows, by code, for documentation.
func ErrorTable() []ErrorCode {
	list := make([]ErrorCode, 0, len(errorTable))
	for code, row := range errorTable {
		list = append(list, ErrorCode{code, row.status, row.text})
	}
	slices.SortFunc(list, func(a, b ErrorCode) int { return cmp.Compare(a.Code, b.Code) })
	return list
}
