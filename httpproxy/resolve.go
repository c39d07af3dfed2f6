package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
)

var errNoResolver = fmt.Errorf("the proxy resolves no names (it is no egress of byway, or the credential is wrong): %w", errors.ErrUnsupported)

// Resolve asks the proxy for host, which an egress of byway can answer: by a tunnel
// to dnsask.Exit. It is of [chain.Resolver].
func (h *tlsHop) Resolve(ctx context.Context, host string) (string, error) {
	return ResolveBy(ctx, h, &h.mute, host)
}

// ResolveBy asks the proxy whose tunnels d opens for host, as [chain.Resolver] says. mute
// remembers that it can't.
func ResolveBy(ctx context.Context, d chain.Dialer, mute *Lack, host string) (string, error) {
	if mute.Found() {
		return "", chain.Fail(chain.PhaseConnect, errNoResolver)
	}
	conn, err := d.DialContext(chain.WithFirstData(ctx, nil), "tcp", dnsask.Exit)
	if err == nil {
		defer func() { _ = conn.Close() }()
		var got string
		if got, err = dnsask.Ask(ctx, conn, host); err == nil {
			return got, nil
		}
		if !errors.Is(err, dnsask.ErrAnswer) {
			return "", chain.Fail(chain.PhaseConnect, err)
		}
	}
	var status *StatusError
	known := errors.As(err, &status) && status.Code != http.StatusProxyAuthRequired
	if !known && !errors.Is(err, dnsask.ErrAnswer) {
		return "", err // it was not reached, or not asked
	}
	mute.begin()
	return "", chain.Fail(chain.PhaseConnect, errNoResolver)
}
