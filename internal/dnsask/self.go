package dnsask

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/byway-proxy/byway/chain"
)

// selfName is asked for what an egress tells of itself: a TXT record of "key=value" strings.
const selfName = "self.byway.invalid"

// Self is what an egress of byway tells of itself.
type Self struct {
	Addrs []netip.Addr // by which targets see it, as far as it knows; behind a NAT there are none
	Clock time.Time    // what it takes the time to be
}

// Strings returns the strings of s's record.
func (s Self) Strings() []string {
	out := []string{"clock=" + strconv.FormatInt(s.Clock.UnixMilli(), 10)}
	for _, a := range s.Addrs[:min(len(s.Addrs), most)] {
		out = append(out, "address="+a.String())
	}
	return out
}

func parseSelf(all []string) (s Self, err error) {
	for _, one := range all {
		key, value, _ := strings.Cut(one, "=")
		switch key {
		case "clock":
			ms, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Self{}, ErrAnswer
			}
			s.Clock = time.UnixMilli(ms)
		case "address":
			a, err := netip.ParseAddr(value)
			if err != nil || len(s.Addrs) == most {
				return Self{}, ErrAnswer
			}
			s.Addrs = append(s.Addrs, a)
		}
	}
	if s.Clock.IsZero() {
		return Self{}, ErrAnswer
	}
	return s, nil
}

// AskSelf asks the egress at the other end of conn, which leads to [Exit], of itself.
// It does not close conn.
func AskSelf(ctx context.Context, conn net.Conn) (s Self, err error) {
	err = chain.Handshake(ctx, conn, limit, func() error {
		q, err := newQuestion(selfName, dnsmessage.TypeTXT)
		if err != nil {
			return err
		}
		answers, err := exchange(conn, q)
		if err != nil {
			return err
		}
		for _, r := range answers[0].Answers {
			if txt, ok := r.Body.(*dnsmessage.TXTResource); ok {
				s, err = parseSelf(txt.TXT)
				return err
			}
		}
		return ErrAnswer
	})
	return s, err
}
