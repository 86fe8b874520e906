package webv4

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// RateLimitStatus is where a caller stands with its quotas, in the platform's
// fields. Those have one unit of time: the hour if quotas on the address or the user
// count by it, else the shortest that they count by. Limits that do not exist in
// that unit are 0. All quotas of several interfaces, in every window, are in
// RateLimits.
type RateLimitStatus struct {
	IPLimit          int            `json:"ip_limit"`
	LimitTimeUnit    string         `json:"limit_time_unit"` // of IPLimit and UserLimit: SECONDS, MINUTES, HOURS or DAYS
	RemainingIPHits  int            `json:"remaining_ip_hits"`
	RemainingUser    int            `json:"remaining_user_hits"`
	ResetTime        string         `json:"reset_time"` // UTC, when both are whole again
	ResetTimeSeconds int            `json:"reset_time_in_seconds"`
	UserLimit        int            `json:"user_limit"`
	RateLimits       []RateLimit    `json:"rate_limits"`     // the quotas of the API and its groups
	APIs             []APIRateLimit `json:"api_rate_limits"` // the quotas of single interfaces
}

// RateLimit is where a caller stands with a quota of several interfaces.
type RateLimit struct {
	Path             string `json:"path"` // below which all calls count, / for the API's own quotas
	Limit            int    `json:"limit"`
	LimitBy          string `json:"limit_by"` // user, app, app+user, ip or total
	LimitTimeUnit    string `json:"limit_time_unit"`
	RemainingHits    int    `json:"remaining_hits"`
	ResetTimeSeconds int    `json:"reset_time_in_seconds"`
}

// APIRateLimit is where a caller stands with the quota of one interface.
type APIRateLimit struct {
	API           string `json:"api"`    // its path, as registered
	Method        string `json:"method"` // GET and so on
	Limit         int    `json:"limit"`
	LimitBy       string `json:"limit_by"` // user, app, app+user, ip or total
	LimitTimeUnit string `json:"limit_time_unit"`
	RemainingHits int    `json:"remaining_hits"`
}

var unitNames = map[byte]string{'s': "SECONDS", 'm': "MINUTES", 'h': "HOURS", 'd': "DAYS"}

// RateLimitStatus tells the caller of the call that ctx belongs to where it
// stands, without counting anything: with the quotas of the API or group that it is
// called on and of what is around it, and with those of every interface. An
// Options.QuotaStore is asked once.
func (a *API) RateLimitStatus(ctx context.Context) (*RateLimitStatus, error) {
	call := callFrom(ctx)
	if call == nil {
		return nil, errors.New("webv4: RateLimitStatus: the context belongs to no call")
	}
	quotas, owners := slices.Clone(a.quotas), make([]*route, len(a.quotas))
	for _, rt := range a.router.list {
		if rt.op.plan == nil || rt.op.twin {
			continue
		}
		for _, q := range rt.op.plan.quotas {
			quotas, owners = append(quotas, q), append(owners, rt)
		}
	}
	list, err := a.look(ctx, call, quotas, now())
	if err != nil {
		return nil, err
	}
	st := &RateLimitStatus{RateLimits: []RateLimit{}, APIs: []APIRateLimit{}}
	for i, s := range list {
		q := quotas[i]
		switch rt := owners[i]; {
		case s.quota == nil: // it does not concern the caller
		case rt != nil:
			st.APIs = append(st.APIs, APIRateLimit{
				API: rt.path, Method: rt.method, Limit: q.limit, LimitBy: quotaNames[q.by], LimitTimeUnit: unitNames[q.unit], RemainingHits: s.remaining,
			})
		default:
			st.RateLimits = append(st.RateLimits, RateLimit{
				Path: q.path, Limit: q.limit, LimitBy: quotaNames[q.by], LimitTimeUnit: unitNames[q.unit], RemainingHits: s.remaining, ResetTimeSeconds: seconds(s.reset),
			})
		}
	}
	slices.SortStableFunc(st.APIs, func(a, b APIRateLimit) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Method, b.Method), cmp.Compare(a.LimitBy, b.LimitBy))
	})
	reset := st.sum(list[:len(a.quotas)])
	st.ResetTimeSeconds = seconds(reset)
	st.ResetTime = time.Now().Add(reset).UTC().Format(time.DateTime)
	return st, nil
}

// sum fills the fields that have one unit of time; of several quotas on the same
// callers the tightest counts. It returns when all are whole again.
func (st *RateLimitStatus) sum(list []standing) (reset time.Duration) {
	unit := byte(0)
	for _, s := range list {
		if s.quota != nil && (s.quota.by == byIP || s.quota.by == byUser) {
			if u := s.quota.unit; unit == 0 || u == 'h' || unit != 'h' && windows[string(u)] < windows[string(unit)] {
				unit = u
			}
		}
	}
	st.LimitTimeUnit = unitNames[cmp.Or(unit, 'h')]
	for _, s := range list {
		if s.quota == nil || s.quota.unit != unit {
			continue
		}
		limit, left := &st.IPLimit, &st.RemainingIPHits
		switch s.quota.by {
		case byIP:
		case byUser:
			limit, left = &st.UserLimit, &st.RemainingUser
		default:
			continue
		}
		if *limit == 0 || s.remaining < *left {
			*limit, *left = s.quota.limit, s.remaining
		}
		reset = max(reset, s.reset)
	}
	return reset
}

// seconds is a duration in whole seconds, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
