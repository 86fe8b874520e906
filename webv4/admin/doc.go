// Package admin is a page, and the same as JSON, on which operators degrade the
// interfaces of a webv4.API and deny addresses, users and applications.
//
//	h, err := admin.New(api, &admin.Options{Deny: deny})
//	...
//	http.Handle("/admin/", http.StripPrefix("/admin", h))
//
// It answers on the loopback interface only, unless Options.Auth lets others in.
// Serve it beside the API, not as a part of it: behind the API's address it would
// be degraded and limited as everything else.
//
//	GET  /         the page
//	GET  /state    all of it as JSON: degrade points, breakers, limits, what is denied,
//	               the latest changes, and the token that forms need
//	POST /degrade  point, level (normal to off), percent, minutes (0: no end), dry
//	POST /deny     kind (ip, user or app), value, minutes (0: no end)
//	POST /allow    kind, value
//
// A change is a form (application/x-www-form-urlencoded). Besides its own fields
// it needs token, reason, of at most 500 bytes, and confirm, which repeats the
// point or the value. It is logged and remembered with who made it and why.
// Requests from pages of other origins are refused.
//
//	curl -s localhost:8081/state
//	curl -d point=timeline -d level=trim -d minutes=30 -d reason='database slow' \
//	  -d confirm=timeline -d token=$TOKEN localhost:8081/degrade
package admin
