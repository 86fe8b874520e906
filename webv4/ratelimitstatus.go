package webv4

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// RateLimitStatus is where a caller stands with its quotas, in the platform's
// fields. Limits that do not exist are 0.
type RateLimitStatus struct {
	IPLimit          int            `json:"ip_limit"`
	LimitTimeUnit    string         `json:"limit_time_unit"` // of IPLimit and UserLimit
	RemainingIPHits  int            `json:"remaining_ip_hits"`
	RemainingUser    int            `json:"remaining_user_hits"`
	ResetTime        string         `json:"reset_time"` // UTC, when both are whole again
	ResetTimeSeconds int            `json:"reset_time_in_seconds"`
	UserLimit        int            `json:"user_limit"`
	APIs             []APIRateLimit `json:"api_rate_limits"` // the quotas of single interfaces
}

// APIRateLimit is where a caller stands with the quota of one interface.
type APIRateLimit struct {
	API           string `json:"api"`    // its path, as registered
	Method        string `json:"method"` // GET and so on
	Limit         int    `json:"limit"`
	LimitBy       string `json:"limit_by"` // user, app, ip or total
	LimitTimeUnit string `json:"limit_time_unit"`
	RemainingHits int    `json:"remaining_hits"`
}

var unitNames = map[byte]string{'s': "SECONDS", 'm': "MINUTES", 'h': "HOURS", 'd': "DAYS"}

// RateLimitStatus tells the caller of the call that ctx belongs to where it
// stands, without counting anything.
func (a *API) RateLimitStatus(ctx context.Context) (*RateLimitStatus, error) {
	call := callFrom(ctx)
	if call == nil {
		return nil, errors.New("webv4: RateLimitStatus: the context belongs to no call")
	}
	asked := now()
	st := &RateLimitStatus{LimitTimeUnit: unitNames['h'], APIs: []APIRateLimit{}}
	var reset time.Duration
	for _, q := range a.quotas {
		s, ok, err := a.look(ctx, call, q, asked)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		switch q.by {
		case byIP:
			st.IPLimit, st.RemainingIPHits = q.limit, s.remaining
		case byUser:
			st.UserLimit, st.RemainingUser = q.limit, s.remaining
		default:
			continue
		}
		st.LimitTimeUnit = unitNames[q.unit]
		reset = max(reset, s.reset)
	}
	for _, rt := range a.router.list {
		op := rt.op
		if op.plan == nil || op.twin {
			continue
		}
		for _, q := range op.plan.quotas {
			s, ok, err := a.look(ctx, call, q, asked)
			if err != nil {
				return nil, err
			}
			if ok {
				st.APIs = append(st.APIs, APIRateLimit{
					API: rt.path, Method: rt.method, Limit: q.limit, LimitBy: quotaNames[q.by], LimitTimeUnit: unitNames[q.unit], RemainingHits: s.remaining,
				})
			}
		}
	}
	slices.SortStableFunc(st.APIs, func(a, b APIRateLimit) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Method, b.Method), cmp.Compare(a.LimitBy, b.LimitBy))
	})
	st.ResetTimeSeconds = int((reset + time.Second - 1) / time.Second)
	st.ResetTime = time.Now().Add(reset).UTC().Format("2006-01-02 15:04:05")
	return st, nil
}
