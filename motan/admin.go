package motan

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/heddle-go/heddle/watchman"
)

// Admin shows what clients and servers of this process are doing.
type Admin struct {
	Clients []*Client
	Servers []*Server
	Faults  *FaultInjector // nil: none
}

// Handler answers GET requests with JSON:
//
//	/services   what each server offers, with its counters
//	/endpoints  what each client calls, its counters, and the state of its endpoints
//	/commands   what operators have ordered for the group of each client of a Commanded registry
//	/switches   the switches of what they are watched by
//
// and these, which change something:
//
//	POST /switches?name=N&on=true&reason=R   turns a switch
//	POST /endpoints?service=S&addr=A&weight=W  Client.SetWeight: 0 takes out, -1 gives back
//	POST /faults                             sets the faults: a JSON list of Fault
//
// Mount it with http.StripPrefix, and only where operators can reach it: it has no
// authentication of its own. Requests that a browser sends for another site's page
// are refused. It panics if one of Clients or Servers is nil.
func (a *Admin) Handler() http.Handler {
	if i := slices.Index(a.Clients, nil); i >= 0 {
		panic(fmt.Sprintf("motan: Admin.Clients[%d]: nil", i))
	}
	if i := slices.Index(a.Servers, nil); i >= 0 {
		panic(fmt.Sprintf("motan: Admin.Servers[%d]: nil", i))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.services()) })
	mux.HandleFunc("GET /endpoints", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.endpoints()) })
	mux.HandleFunc("GET /commands", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.commands()) })
	mux.HandleFunc("GET /switches", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.switches()) })
	mux.HandleFunc("POST /switches", a.turnSwitch)
	mux.HandleFunc("POST /endpoints", a.setWeight)
	mux.HandleFunc("POST /faults", a.setFaults)
	return crossOrigin.Handler(mux)
}

// ServerState is a server as Admin shows it.
type ServerState struct {
	Services []ServiceState `json:"services"`
	Stats    ServerStats    `json:"stats"`
}

// ServiceState is one service of a server.
type ServiceState struct {
	Service string        `json:"service"`
	Methods []MethodState `json:"methods"`
}

// MethodState is one method of a service.
type MethodState struct {
	Method   string `json:"method"`
	InFlight int64  `json:"in_flight"`
	Quick    bool   `json:"quick"` // its handler runs on the goroutine that reads
	Off      bool   `json:"off"`   // by its switch or the service's
}

// ClientState is a client as Admin shows it.
type ClientState struct {
	Service string      `json:"service"`
	Group   string      `json:"group"`
	Version string      `json:"version"`
	Stats   ClientStats `json:"stats"`
}

// Services returns what the server offers, sorted by name.
func (s *Server) Services() []ServiceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ServiceState, 0, len(s.services))
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		svc := s.services[name]
		st := ServiceState{Service: name}
		for _, method := range slices.Sorted(maps.Keys(svc.methods)) {
			m := svc.methods[method]
			st.Methods = append(st.Methods, MethodState{
				Method: method, InFlight: m.inFlight.Load(), Quick: m.pace.quick(), Off: m.switched.On() || svc.switched.On(),
			})
		}
		list = append(list, st)
	}
	return list
}

func (a *Admin) services() []ServerState {
	list := make([]ServerState, 0, len(a.Servers))
	for _, s := range a.Servers {
		list = append(list, ServerState{s.Services(), s.Stats()})
	}
	return list
}

func (a *Admin) endpoints() []ClientState {
	list := make([]ClientState, 0, len(a.Clients))
	for _, c := range a.Clients {
		list = append(list, ClientState{c.service, c.opt.Group, c.opt.Version, c.Stats()})
	}
	return list
}

// CommandState is what is ordered for the group of a client, as Admin shows it.
type CommandState struct {
	Service  string    `json:"service"`
	Group    string    `json:"group"`
	Commands []Command `json:"commands"` // by index
	Traffic  *Command  `json:"traffic"`  // the one of them that the service's traffic obeys; null: none
	Degraded bool      `json:"degraded"` // one of them degrades the service
}

// Commands returns what operators have ordered for the client's group; ok is false
// if its registry is not Commanded.
func (c *Client) Commands() (list []Command, ok bool) {
	orders, ok := c.orders()
	return orders.List, ok
}

func (c *Client) orders() (orders Commands, ok bool) {
	reg := c.reg
	if m, is := reg.(memcachedServers); is {
		reg = m.Registry
	}
	from, ok := reg.(*commanded)
	if !ok {
		return Commands{}, false
	}
	orders = from.commandsOf(c.opt.Group)
	orders.List = slices.Clone(orders.List)
	return orders, true
}

func (a *Admin) commands() []CommandState {
	list := []CommandState{}
	for _, c := range a.Clients {
		if orders, ok := c.orders(); ok {
			st := CommandState{Service: c.service, Group: c.opt.Group, Commands: orders.List}
			traffic, degrade := orders.of(c.service)
			st.Traffic, st.Degraded = traffic, degrade != nil
			list = append(list, st)
		}
	}
	return list
}

// watchmen returns what clients and servers are watched by.
func (a *Admin) watchmen() (list []*watchman.Watchman) {
	add := func(w *watchman.Watchman) {
		if w != nil && !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	for _, s := range a.Servers {
		add(s.opt.Watchman)
	}
	for _, c := range a.Clients {
		add(c.opt.Watchman)
	}
	return list
}

func (a *Admin) switches() []watchman.SwitchState {
	list := []watchman.SwitchState{}
	for _, w := range a.watchmen() {
		list = append(list, w.Switches()...)
	}
	return list
}

func (a *Admin) turnSwitch(w http.ResponseWriter, r *http.Request) {
	name, on, reason := r.FormValue("name"), r.FormValue("on"), r.FormValue("reason")
	value, err := strconv.ParseBool(on)
	if err != nil {
		http.Error(w, fmt.Sprintf("on=%q: want true or false", on), http.StatusBadRequest)
		return
	}
	found := false
	for _, wm := range a.watchmen() {
		err := wm.SetSwitch(name, value, r.RemoteAddr, reason)
		switch {
		case err == nil:
			found = true
		case !errors.Is(err, watchman.ErrNoSwitch):
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if !found {
		http.Error(w, fmt.Sprintf("switch %q: there is none", name), http.StatusNotFound)
		return
	}
	writeJSON(w, a.switches())
}

func (a *Admin) setWeight(w http.ResponseWriter, r *http.Request) {
	service, addr := r.FormValue("service"), r.FormValue("addr")
	weight, err := strconv.Atoi(r.FormValue("weight"))
	if err != nil {
		http.Error(w, fmt.Sprintf("weight=%q: want a number", r.FormValue("weight")), http.StatusBadRequest)
		return
	}
	found := false
	for _, c := range a.Clients {
		if c.service == service && c.SetWeight(addr, weight) == nil {
			found = true
		}
	}
	if !found {
		http.Error(w, fmt.Sprintf("no client of %q has endpoint %q", service, addr), http.StatusNotFound)
		return
	}
	writeJSON(w, a.endpoints())
}

// maxFaults bounds what POST /faults takes, in bytes.
const maxFaults = 1 << 20

func (a *Admin) setFaults(w http.ResponseWriter, r *http.Request) {
	if a.Faults == nil {
		http.Error(w, "no fault injector", http.StatusNotFound)
		return
	}
	var faults []Fault
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFaults))
	dec.DisallowUnknownFields()
	err := dec.Decode(&faults)
	if err == nil {
		err = a.Faults.Set(faults...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, faults)
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Write(append(b, '\n')) // if it fails, nobody waits
}
