package configs

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// bothOrNeither fails at the one of two keys of a table that stands alone.
func (d *decoder) bothOrNeither(path, a, b string) {
	for _, pair := range [][]string{{a, b}, {b, a}} {
		if d.has(join(path, pair[0])) && !d.has(join(path, pair[1])) {
			d.fail(join(path, pair[0]), "stands without %s; give both or neither", pair[1])
		}
	}
}

// users checks the names of a list of users. A colon could not be told from the
// one that ends the name in HTTP's Basic scheme (RFC 7617 §2).
func (d *decoder) users(list string, names []string) {
	for i, name := range names {
		if strings.Contains(name, ":") {
			d.fail(join(at(list, i), "name"), "has a colon, which HTTP cannot carry; choose another")
		}
	}
	d.unique(list, "name", names)
}

// unique reports the names that an element of list shares with an earlier one.
func (d *decoder) unique(list, key string, names []string) {
	for i, name := range names {
		if first := slices.Index(names, name); name != "" && first < i {
			line := d.line(join(at(list, first), key))
			d.fail(join(at(list, i), key), "is taken already, on line %d; choose another", line)
		}
	}
}

// address checks host:port to listen on and reports whether only this machine
// can reach it. Of a bad address it says yes, to spare the reader what would
// follow from it.
func (d *decoder) address(addr, path string) (loopback bool) {
	if addr == "" {
		return true
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		d.fail(path, `%q is not host:port; write it like "127.0.0.1:1080" or "[::1]:1080"`, addr)
		return true
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		d.fail(path, "port %q is not a number from 0 to 65535; give one (0 takes any that is free)", port)
	}
	if host == "" {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		// A name would be resolved before any chain is up.
		d.fail(path, `host %q is not an IP address; give one, or "localhost"`, host)
		return true
	}
	return ip.Unmap().IsLoopback()
}

// isPort reports whether s is a port that one can connect to.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// elements returns one value of each element of list, in its order.
func elements[T, V any](list []T, value func(T) V) []V {
	all := make([]V, len(list))
	for i, e := range list {
		all[i] = value(e)
	}
	return all
}
