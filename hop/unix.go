package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/byway-proxy/byway/chain"
)

const unixSuffix = "+unix"

// nowhere is the address of a hop at a socket, which has none. It is dialled by nobody.
const nowhere = "unix.invalid:1"

// overUnix makes a hop that is reached by a socket of this machine.
func overUnix(scheme string, u *url.URL, o Options) (chain.Hop, error) {
	switch {
	case u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/"):
		return chain.Hop{}, fmt.Errorf("hop: the URL of a unix socket is %s:///path, with three slashes", u.Scheme)
	case u.RawQuery != "" || u.Fragment != "":
		return chain.Hop{}, errors.New("hop: the URL has more than scheme, user and path")
	}
	if o.Name == "" {
		o.Name = u.Scheme + "://" + u.Path
	}
	h, ok := plain(scheme, nowhere, o)
	if !ok {
		return chain.Hop{}, fmt.Errorf("hop: scheme %q is not known; write socks5, socks4a, socks4 or http before %s", u.Scheme, unixSuffix)
	}
	wrap := h.Wrap
	h.Wrap = func(next chain.Dialer) (chain.Dialer, error) {
		if next == nil {
			return nil, errors.New("hop: no dialer that reaches the hop")
		}
		return wrap(socket{next, u.Path})
	}
	return h, nil
}

// socket is the way to a hop at a unix socket. The network "unix" is carried by a
// base such as *net.Dialer, and refused by every hop: in any place but the first the
// hop is not reached.
type socket struct {
	next chain.Dialer
	path string
}

func (s socket) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	if network != "tcp" {
		return nil, chain.Fail(chain.PhaseDial, unsupported(network))
	}
	return s.next.DialContext(ctx, "unix", s.path)
}
