package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// farResolver resolves at the far end, and dials nothing.
type farResolver struct{ chain.Dialer }

func (farResolver) Resolve(_ context.Context, host string) (string, error) {
	if host == "target.example" {
		return "192.0.2.7", nil
	}
	return "", errors.New("no such name")
}

// TestLookupThroughChain has a name resolved by way of a hop, and the address that
// the rule was asked about dialled from here.
func TestLookupThroughChain(t *testing.T) {
	hop := socksServer(t, farResolver{testnet.NoDial(t)})
	var dialled []string
	base := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == hop {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		dialled = append(dialled, addr)
		return nil, io.ErrUnexpectedEOF
	})
	text := fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = \"socks5://%s\"\n[[chain]]\nname = \"c\"\nhops = [\"h\"]\nspares = 0\n"+
		"[[route]]\nto = \"direct\"\ncidr = \"192.0.2.0/24\"\nlookup = \"c\"\n", hop)
	s, err := New(parse(t, text), base, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := relay.Request{Network: "tcp", Addr: "target.example:80"}
	if e := s.Explain(q, time.Now()); e.Decision.Ask == nil || e.Names != "the far end of a chain, to decide; never here" {
		t.Errorf("explained as %+v", e)
	}
	d, err := s.relay.Route(t.Context(), q)
	if err != nil || d.Via != "direct" || d.Addr != "192.0.2.7:80" {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := s.relay.Dial(t.Context(), q, d); !errors.Is(err, io.ErrUnexpectedEOF) || fmt.Sprint(dialled) != "[192.0.2.7:80]" {
		t.Errorf("dialled %q, %v", dialled, err)
	}
	q.Addr = "other.example:80"
	if d, err := s.relay.Route(t.Context(), q); !errors.Is(err, relay.ErrBlocked) {
		t.Errorf("a name that is not known: %+v, %v", d, err)
	}
}
