package chain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestPerIdentity(t *testing.T) {
	var made int
	var closed []string
	d := chain.PerIdentity(2, func() (chain.Dialer, error) {
		made++
		name := fmt.Sprint(made)
		return closer{chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New(name)
		}), func() { closed = append(closed, name) }}, nil
	})
	for i, step := range []struct{ key, by string }{
		{"", "1"},
		{"alice", "2"},
		{"", "1"},
		{"alice", "2"},
		{"", "1"},
		{"bob", "3"},   // alice's is the one not used for longest
		{"alice", "4"}, // and "" goes
		{"bob", "3"},
	} {
		_, err := d.DialContext(chain.WithIdentity(t.Context(), chain.Identity{Key: step.key}), "tcp", "t:1")
		if err == nil || err.Error() != step.by {
			t.Errorf("step %d, %q: dialled by %v, want %s", i, step.key, err, step.by)
		}
	}
	if got := strings.Join(closed, ""); got != "21" {
		t.Errorf("closed %s", got)
	}
	if err := d.(interface{ Close() error }).Close(); err != nil || len(closed) != 4 {
		t.Errorf("closed %v, %v", closed, err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "t:1"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestQuiet(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer a.Close()
	if !chain.Quiet(a) {
		t.Error("an idle conn is not quiet")
	}
	if chain.Quiet(chain.Unread(a, []byte("x"))) {
		t.Error("a conn with bytes ahead is quiet")
	}
	_ = b.Close()
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	if chain.Quiet(a) {
		t.Error("a conn that the peer has closed is quiet")
	}
}
