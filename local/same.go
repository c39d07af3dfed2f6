package local

import (
	"crypto/sha256"
	"os"
	"reflect"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/lists"
)

// chain returns the chain or group called name of p, which may be nil, if next has the
// same one: what it keeps open is of use then. Otherwise it returns nil.
func (p *plan) chain(name string, next *plan) *chain.Chain {
	if p == nil || !same(p, next, name) {
		return nil
	}
	return p.chains[name]
}

// same reports whether name stands for the same in both plans, with all that it consists of
// and the files that this was made of.
func same(a, b *plan, name string) bool {
	one, other := part(a.config, name), part(b.config, name)
	if one == nil || !reflect.DeepEqual(one, other) {
		return false
	}
	var within []string
	switch one := one.(type) {
	case *configs.Hop:
		for _, path := range filesOf(one) {
			if a.files[path] != b.files[path] {
				return false
			}
		}
	case *configs.Chain:
		within = one.Hops
	case *configs.Group:
		within = one.Members
	}
	for _, name := range within {
		if !same(a, b, name) {
			return false
		}
	}
	return true
}

// part returns the *configs.Hop, Chain or Group called name, or nil.
func part(c *configs.Client, name string) any {
	for i := range c.Hops {
		if c.Hops[i].Name == name {
			return &c.Hops[i]
		}
	}
	for i := range c.Chains {
		if c.Chains[i].Name == name {
			return &c.Chains[i]
		}
	}
	for i := range c.Groups {
		if c.Groups[i].Name == name {
			return &c.Groups[i]
		}
	}
	return nil
}

// filesOf returns the paths of the files that a hop is made of.
func filesOf(h *configs.Hop) []string {
	return append([]string{h.TLS.CA, h.TLS.Certificate, h.TLS.Key, h.SSH.KnownHosts}, h.SSH.Keys...)
}

// digests returns what is in the files that the hops of c are made of. One that can't
// be read has the zero digest: who needs it says so.
func digests(c *configs.Client) map[string][sha256.Size]byte {
	all := make(map[string][sha256.Size]byte)
	for i := range c.Hops {
		for _, path := range filesOf(&c.Hops[i]) {
			if _, ok := all[path]; ok || path == "" {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				all[path] = [sha256.Size]byte{}
				continue
			}
			all[path] = sha256.Sum256(data)
		}
	}
	return all
}

// kept returns the source of a list of p, which may be nil, if it is the same as l
// is to be, fetched by d. Otherwise it returns nil.
func (p *plan) kept(l *configs.List, d chain.Dialer) *lists.Source {
	if p == nil {
		return nil
	}
	for i := range p.config.Lists {
		if before := &p.config.Lists[i]; before.Name == l.Name && !reflect.DeepEqual(before, l) {
			return nil
		}
	}
	for _, s := range p.sources {
		if s.List == p.lists[l.Name] && sameDialer(s.Dialer, d) {
			return s
		}
	}
	return nil
}

// sameDialer reports whether a and b are one and the same.
func sameDialer(a, b chain.Dialer) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
