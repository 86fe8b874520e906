// Package web puts webv4 beside other Go web frameworks: the same calls through
// each one's usual way of binding, checking and answering, the whole chain of
// middleware that each one's users run, and what is left of a service when far
// more is asked of it than it can do. It also has what checks webv4 from outside:
// kin-openapi, h2spec, slowhttptest, and Chromium on the page of the shop.
//
// In memory, requests and writers are used again, so that what is measured is the
// framework. Over loopback each server is a process of its own, and
// server-cpu-ns/op is that process's CPU time only. On two cores of an Intel Xeon
// with nothing else running, medians of three to six runs, two of the chain:
//
//	cd peers && go test -run '^$' -bench 'Web(TypedGET|ValidatedPOST|Timeline)' -benchtime 0.3s -count 6 ./web
//
//	CPU, µs (allocations)    webv4      net/http   Huma       Echo       Gin        go-zero's router
//	typed GET                0.73 (5)   1.10 (8)   1.08 (7)   1.88 (9)   2.49 (16)  5.58 (45)
//	validated POST           1.74 (7)   3.57 (22)  6.59 (53)  4.80 (30)  4.62 (30)  9.68 (87)
//	timeline of 22 KB        12.1 (3)   29.5 (1)   28.7 (3)   29.8 (2)   46.6 (2)   43.9 (3)
//
// Of these only webv4 catches panics, gives handlers a deadline, counts, and says
// that a reply's type is not to be guessed, and it cannot do without. Huma with all
// that around it, huma-guarded, needs 2.06 µs (13) for the GET. A call keeps less
// since: on two cores of an AMD EPYC the GET takes 0.51 µs (4) beside Huma's 1.10 (7),
// the POST 1.57 (7) beside 5.80 (53), and the timeline 9.9 beside 23.7, medians of three
// or four runs (-bench 'Web(TypedGET|ValidatedPOST|Timeline)/(webv4|huma)$' -benchtime 0.3s).
//
//	cd peers && go test -run '^$' -bench WebChain -benchtime 0.5s ./web
//
//	the whole chain, server's CPU, µs   webv4 23, Gin 30, Echo 34, go-zero's default 50, with its JWT 60
//
// # Overload
//
//	cd peers && go test -run '^$' -bench Overload -benchtime 1x ./web
//
// asks a service that waits (for one of 16 workers, 20 ms) and one that computes
// (4 ms of a processor with nothing else to do, on all cores) for up to ten times what it can do. Goodput is answers
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
// Another run of webv4 alone, at 2 and 5 times, with nothing else running: io 106,
// 107; cpu 91, 90, and all critical calls. HEDDLE_OVERLOAD=10m has clients come for
// ten minutes; end-% is the goodput in the last of ten parts. Ten minutes at
// 5 times: io 100, in the last part 99; cpu, on the EPYC, 91.8, in the last part 91.8,
// settled after 0.1 s, while the clients took 5 % of the processors; all critical calls
// answered. Before, the work was a number of rounds, of whatever length.
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
