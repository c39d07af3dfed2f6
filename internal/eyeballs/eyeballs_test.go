package eyeballs

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hosts answer: one after 100 ms; one that ends in "dead" never, in "bad" with a refusal, and in
// "late" after a second.
type hosts struct {
	began time.Time
	mu    sync.Mutex
	tried []string
	open  map[string]net.Conn
}

func (h *hosts) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	h.mu.Lock()
	h.tried = append(h.tried, host)
	h.mu.Unlock()
	wait, err := 100*time.Millisecond, error(nil)
	switch {
	case strings.HasSuffix(host, "dead"):
		<-ctx.Done()
		return nil, ctx.Err()
	case strings.HasSuffix(host, "bad"):
		err = syscall.ECONNREFUSED
	case strings.HasSuffix(host, "bed"):
		err = syscall.ENETUNREACH
	case strings.HasSuffix(host, "1a7e"): // and takes no notice of ctx
		wait = time.Second
	}
	time.Sleep(wait)
	if err != nil {
		return nil, err
	}
	near, far := testnet.AddressedPipe("here", testnet.Addr(host))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[host] = far
	return near, nil
}

// TestDial has addresses that hang, refuse and answer, and come bit by bit, in virtual time.
func TestDial(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		found string // addresses; "@" and a duration between those that come later
		won   string
		err   error
		after time.Duration
		tried string
	}{
		{"one", "::1", "::1", nil, 100 * ms, "::1"},
		{"in turn", "::1:dead ::2:dead 192.0.2.1", "192.0.2.1", nil, 350 * ms, "::1:dead 192.0.2.1"},
		{"refusal", "::1:bad ::2 ::3", "::2", nil, 200 * ms, "::1:bad ::2"},
		{"first of two", "::1:1a7e 192.0.2.1", "192.0.2.1", nil, 350 * ms, "::1:1a7e 192.0.2.1"},
		{"all fail", "::1:bed ::2:bad ::3:bad", "", syscall.ENETUNREACH, 300 * ms, "::1:bed ::2:bad ::3:bad"},
		{"none", "", "", nil, 0, ""},
		{"none, late", "@1s", "", nil, 1000 * ms, ""},
		{"late", "192.0.2.1 @50ms ::1", "192.0.2.1", nil, 100 * ms, "192.0.2.1"},
		{"late ones help", "::1:dead @1s ::2:dead 192.0.2.1", "192.0.2.1", nil, 1100 * ms, "::1:dead 192.0.2.1"},
		{"later than a refusal", "::1:bad @1s 192.0.2.1", "192.0.2.1", nil, 1100 * ms, "::1:bad 192.0.2.1"},
		{"in vain", "::1:dead ::2:dead", "", context.DeadlineExceeded, 5000 * ms, "::1:dead ::2:dead"},
		{"nobody says", "@1h", "", context.DeadlineExceeded, 5000 * ms, ""},
		{"v4 in v6", "::ffff:192.0.2.1", "192.0.2.1", nil, 100 * ms, "192.0.2.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hosts{began: time.Now(), open: make(map[string]net.Conn)}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				c, err := Dial(ctx, h, "tcp", "7", comeBy(ctx, test.found))
				if took := time.Since(h.began); took != test.after {
					t.Errorf("took %v, want %v", took, test.after)
				}
				if !errors.Is(err, test.err) || (c != nil) != (test.won != "") || c != nil && c.RemoteAddr().String() != test.won {
					t.Errorf("%v, %v; want %s, %v", c, err, test.won, test.err)
				}
				time.Sleep(2 * time.Second)
				h.mu.Lock()
				defer h.mu.Unlock()
				if got := strings.Join(h.tried, " "); got != test.tried {
					t.Errorf("tried %s, want %s", got, test.tried)
				}
				for host, far := range h.open {
					_ = far.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := far.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) != (host == test.won) {
						t.Errorf("%s has won, and the conn to %s: %v", test.won, host, err)
					}
				}
				if c != nil {
					_ = c.Close()
				}
			})
		})
	}
}

// comeBy sends addresses as they are written, until ctx ends.
func comeBy(ctx context.Context, text string) <-chan []netip.Addr {
	if !strings.Contains(text, "@") {
		return Known(addrs(text))
	}
	found := make(chan []netip.Addr)
	go func() {
		defer close(found)
		for i, part := range strings.Split(text, "@") {
			if i > 0 {
				var wait string
				wait, part, _ = strings.Cut(part, " ")
				d, err := time.ParseDuration(wait)
				if err != nil {
					panic(err)
				}
				select {
				case <-time.After(d):
				case <-ctx.Done():
					return
				}
			}
			select {
			case found <- addrs(part):
			case <-ctx.Done():
				return
			}
		}
	}()
	return found
}

func addrs(text string) (all []netip.Addr) {
	for _, s := range strings.Fields(text) {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}
