package otlp

import (
	"slices"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/heddle-go/heddle/watchman"
)

// names are the names that a version of OpenTelemetry's semantic conventions
// gives to what the products' spans say. An empty one is not in that version.
type names struct {
	httpMethod, httpRoute, httpStatus                   string
	rpcSystem, rpcService, rpcMethod                    string
	messagingSystem, destination, operation, operType   string
	messageID, batchCount                               string
	dbSystem, dbOperation, dbCollection, dbKeys         string
	exceptionType, exceptionMessage, exceptionStack, fn string
}

// conventions are the versions that can be asked for. What changed between
// them: the database system's name and the source code function's became stable in
// 1.30, which also has a name for how many keys a call is about.
var conventions = map[string]names{
	"1.26.0": with(func(n *names) { n.dbSystem, n.fn, n.dbKeys = "db.system", "code.function", "" }),
	"1.37.0": with(nil),
}

// DefaultConventions is the version of Options.Conventions "".
const DefaultConventions = "1.37.0"

func with(change func(*names)) names {
	n := names{
		"http.request.method", "http.route", "http.response.status_code",
		"rpc.system", "rpc.service", "rpc.method",
		"messaging.system", "messaging.destination.name", "messaging.operation.name", "messaging.operation.type",
		"messaging.message.id", "messaging.batch.message_count",
		"db.system.name", "db.operation.name", "db.collection.name", "db.operation.batch.size",
		"exception.type", "exception.message", "exception.stacktrace", "code.function.name",
	}
	if change != nil {
		change(&n)
	}
	return n
}

func versions() []string {
	var list []string
	for v := range conventions {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

func schemaURL(version string) string { return "https://opentelemetry.io/schemas/" + version }

// known are the facts of the products' spans that the conventions have a name for.
func (n *names) known(key string) string {
	name := ""
	switch key {
	case "message":
		name = n.messageID
	case "batch":
		name = n.batchCount
	case "refused":
		name = n.httpStatus
	case "keys":
		name = n.dbKeys
	}
	if name == "" {
		return key
	}
	return name
}

// operationTypes are the conventions' words for what is done with a message.
var operationTypes = map[string]string{"put": "send", "set": "send", "take": "receive", "batch": "process", "process": "process"}

// describe says by the operation's name what the conventions want to know about
// it: the products' names are "GET /route", "service/method", "mcq put queue",
// "objstore.get" and "ssdcache.tier users".
func (n *names) describe(kind watchman.Kind, name string) []*commonpb.KeyValue {
	first, rest, spaced := strings.Cut(name, " ")
	switch {
	case kind == watchman.Server && spaced && strings.HasPrefix(rest, "/") && strings.ToUpper(first) == first:
		return []*commonpb.KeyValue{text(n.httpMethod, first), text(n.httpRoute, rest)}
	case first == "mcq" && spaced:
		verb, queue, ok := strings.Cut(rest, " ")
		typ := operationTypes[verb]
		if !ok || typ == "" {
			return nil
		}
		return []*commonpb.KeyValue{text(n.messagingSystem, "mcq"), text(n.destination, queue), text(n.operation, verb), text(n.operType, typ)}
	case !spaced && (kind == watchman.Server || kind == watchman.Client) && strings.Contains(name, "/"):
		i := strings.LastIndex(name, "/")
		return []*commonpb.KeyValue{text(n.rpcSystem, "motan"), text(n.rpcService, name[:i]), text(n.rpcMethod, name[i+1:])}
	}
	for _, system := range []string{"objstore", "ssdcache"} {
		if op, ok := strings.CutPrefix(first, system+"."); ok {
			list := []*commonpb.KeyValue{text(n.dbSystem, system), text(n.dbOperation, op)}
			if spaced {
				list = append(list, text(n.dbCollection, rest))
			}
			return list
		}
	}
	return nil
}
