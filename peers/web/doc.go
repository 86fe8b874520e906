// Package web puts webv4 beside other Go web frameworks: the same calls through
// each one's usual way of binding, checking and answering, the whole chain of
// middleware that each one's users run, and what is left of a service when far
// more is asked of it than it can do. It also has what checks webv4 from outside:
// kin-openapi, h2spec, slowhttptest, and Chromium on the page of the shop.
//
// In memory, requests and writers are used again, so that what is measured is the
// framework. Over loopback each server is a process of its own, and
// server-cpu-ns/op is that process's CPU time only. On two shared cores:
//
//	cd peers && go test -run '^$' -bench 'Web(TypedGET|ValidatedPOST|Timeline)' ./web
//
//	CPU, µs (allocations)    webv4      net/http   Huma       Echo       Gin        go-zero's router
//	typed GET                1.6 (5)    1.7 (8)    2.0 (7)    3.3 (9)    5.1 (16)   8.2 (45)
//	validated POST           3.6 (7)    5.5 (22)   10.6 (53)  7.7 (30)   7.9 (30)   14.5 (87)
//	timeline of 22 KB        23.6 (2)   48.5 (1)   46.7 (3)   55.8 (2)   65.6 (2)   69.2 (3)
//
//	cd peers && go test -run '^$' -bench WebChain ./web
//
//	the whole chain, server's CPU, µs   webv4 30, Echo 47, Gin 50, go-zero's default 68, with its JWT 87
//
// # Overload
//
//	cd peers && go test -run '^$' -bench Overload -benchtime 1x ./web
//
// asks a service that waits (for one of 16 workers, 20 ms) and one that computes
// (4 ms, on all cores) for up to ten times what it can do. Goodput is answers
// within 250 ms in per cent of the capacity; a tenth of the calls is critical, and
// beside it is how many of those were answered in time:
//
//	goodput / critical, %    io 5x        cpu 5x      settled after
//	webv4                    102 / 100    94 / 100    0.1 s or less
//	failsafe-go              105 / 21     0 / 0       io at once, cpu never
//	failsafe-go, priorities  108 / 21     6 / 1       io at once, cpu never
//	x/time/rate              100 / 20     0 / 0       io at once, cpu never; it is told the capacity
//	go-zero's shedder        7 / 1        0 / 0       never
//	nothing                  3 / 1        0 / 0       never
//
// webv4 alone at 1, 2 and 10 times: io 101, 104, 103; cpu 87, 90, 87. At ten times
// critical calls alone are all that the service can do: cpu answers 90 % of them.
// Where it computes, the machine's other work shows: these are runs with little
// else going on, and with the server before all else; the peers' io ran beside
// other work.
//
// # The document under redocly and spectral
//
// Both have nothing to say of the document of examples/openapi-shop:
//
//	go run ./examples/openapi-shop &
//	curl -s localhost:8080/docs/openapi.json >shop.json
//	echo 'extends: ["spectral:oas"]' >spectral.yaml
//	npx @redocly/cli@2.11.1 lint shop.json
//	npx @stoplight/spectral-cli@6.15.0 lint shop.json --ruleset spectral.yaml
//
// # More of the same
//
// HEDDLE_CONFORMANCE=100000 sends that many generated requests to each API
// instead of a few thousand:
//
//	cd peers && HEDDLE_CONFORMANCE=100000 go test -run Conformance -v ./web
package web
