package relay

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strconv"

	"github.com/byway-proxy/byway/chain"
)

// An Isolation says in what requests must not differ to be of one identity. Its
// zero value stands for listener, user and client.
type Isolation uint8

// The parts of an Isolation, to be combined by "|".
const (
	ByListener Isolation = 1 << iota
	ByUser               // and by Request.Label
	ByClient             // by address, without the port
	ByTarget             // by host and port, as the client wrote them
)

const standard = ByListener | ByUser | ByClient

// Has reports whether i isolates by part.
func (i Isolation) Has(part Isolation) bool {
	if i == 0 {
		i = standard
	}
	return i&part != 0
}

// An epoch is the time between two calls of NewIdentity. The first has no name.
type epoch struct {
	name string
	ctx  context.Context //nolint:containedctx // which ends with it
	end  context.CancelFunc
}

func newEpoch(name string) *epoch {
	e := &epoch{name: name}
	e.ctx, e.end = context.WithCancel(context.Background())
	return e
}

// now returns the epoch that it is.
func (r *Relay) now() *epoch {
	if r.epoch.Load() == nil {
		r.epoch.CompareAndSwap(nil, newEpoch(""))
	}
	return r.epoch.Load()
}

// NewIdentity makes strangers of the tunnels to come and those before: nothing that is
// kept between dials (spares, sessions, TLS tickets, picks of sticky groups) serves
// both. Live tunnels go on; what was kept and carries none is closed, the rest with its last.
func (r *Relay) NewIdentity() {
	if before := r.epoch.Swap(newEpoch(rand.Text())); before != nil {
		before.end()
	}
}

// Identity tells for whom q is: what q.Isolate says, and the last [Relay.NewIdentity].
func (r *Relay) Identity(q *Request) chain.Identity {
	now := r.now()
	id := chain.Identity{User: q.User, Target: q.Addr, Until: now.ctx}
	if q.Client != nil {
		id.Client = q.Client.String()
		if host, _, err := net.SplitHostPort(id.Client); err == nil {
			id.Client = host
		}
	}
	parts := [6]string{now.name}
	if q.Isolate.Has(ByListener) {
		parts[1] = q.Listener
	}
	if q.Isolate.Has(ByClient) {
		parts[2] = id.Client
	}
	if q.Isolate.Has(ByTarget) {
		parts[3] = q.Addr
	}
	if q.Isolate.Has(ByUser) {
		parts[4], parts[5] = q.User, q.Label
	}
	id.Key = string(joined(make([]byte, 0, 128), parts[:]))
	return id
}

// Label returns a [Request.Label] that stands for what a client said of itself. It is a
// digest: it may be a password that was meant for others.
func Label(said ...string) string {
	sum := sha256.Sum256(joined(nil, said))
	return hex.EncodeToString(sum[:16])
}

// joined appends parts to b with their lengths, so that no others look the same.
func joined(b []byte, parts []string) []byte {
	for _, p := range parts {
		b = append(strconv.AppendInt(b, int64(len(p)), 10), ':')
		b = append(b, p...)
	}
	return b
}
