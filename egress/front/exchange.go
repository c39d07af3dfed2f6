package front

import (
	"errors"
	"net/http"
	"slices"

	"github.com/byway-proxy/byway/egress/front/h1"
	"github.com/byway-proxy/byway/egress/front/upstream"
)

// An exchange is a request on its way to servers.
type exchange struct {
	p     *Proxy
	w     http.ResponseWriter
	r     *http.Request
	out   *http.Request // as servers see it
	body  *replay
	early func(status int, h http.Header)
	wish  upstream.Wish

	status int // of the last try, if there is no response to pass on
}

// try sends the request to a server, and reports whether the client has its answer.
func (x *exchange) try() (done bool) {
	lease, err := x.p.Pool.Pick(x.wish)
	if err != nil {
		x.noServer(err)
		return true
	}
	defer lease.Release()
	s := lease.Server
	if len(x.wish.Tried) > 0 {
		again := *x.out // whoever sends the last one may still look at it
		x.out = &again
	}
	x.out.URL = at(s.URL, x.r.URL)
	x.out.Body = x.body.next()
	resp, err := s.Client.Do(x.out, x.early)
	if err == nil {
		lease.Answered(resp.StatusCode)
		if slices.Contains(x.p.RetryOn, resp.StatusCode) && x.again(s, nil) {
			_ = resp.Body.Close()
			x.status = resp.StatusCode
			return false
		}
		if lease.Cookie != nil {
			resp.Header.Add("Set-Cookie", lease.Cookie.String())
		}
		x.p.answer(x.w, x.r, resp, x.body)
		return true
	}
	x.status = statusOf(err)
	x.body.stop(x.w)
	if errors.Is(err, h1.ErrRequest) {
		x.fail(http.StatusBadRequest)
		return true
	}
	if x.r.Context().Err() == nil {
		lease.Failed(err)
		if x.again(s, err) {
			return false
		}
	}
	x.fail(x.status)
	return true
}

// again reports whether the request is to be sent to another server than s, which failed it with err
// or, if that is nil, answered with a status of RetryOn.
func (x *exchange) again(s *upstream.Server, err error) bool {
	if err == nil {
		x.body.stop(x.w)
	}
	x.wish.Tried = append(x.wish.Tried, s)
	return len(x.wish.Tried) < x.p.tries() && x.body.again(x.r, err) && x.p.Pool.Again()
}

// noServer answers a request that no server takes, or no further one.
func (x *exchange) noServer(err error) {
	switch {
	case x.status != 0:
		x.fail(x.status)
	case errors.Is(err, upstream.ErrBusy):
		x.w.Header()["Retry-After"] = []string{"1"}
		fallthrough
	default:
		x.fail(http.StatusServiceUnavailable)
	}
}

func (x *exchange) fail(status int) {
	if !x.body.done() && x.r.ProtoMajor == 1 {
		x.w.Header()["Connection"] = []string{"close"} // see answer
	}
	fail(x.w, status)
}
