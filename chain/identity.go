package chain

import "context"

// An Identity says for whom a tunnel is opened. It goes to no hop; what is kept
// between dials (spares, sessions, TLS tickets) is kept for each Key apart.
type Identity struct {
	Key    string // what streams are isolated by: tunnels of different keys have nothing in common
	User   string // the authenticated user, or ""
	Client string // the client's address, without a port
	Target string // host:port as the client wrote it
}

type identityKey struct{}

// WithIdentity returns a ctx whose dials are for id.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityOf returns the identity that ctx carries, or the zero Identity.
func IdentityOf(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}
