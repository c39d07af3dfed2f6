package connectudp

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Protocol is the token of Upgrade, and the :protocol of an extended CONNECT.
const Protocol = "connect-udp"

// CapsuleField is the field by which both ends say that they speak in capsules (RFC
// 9297 §3.4); its value is "?1".
const CapsuleField = "Capsule-Protocol"

// prefix is the path of RFC 9298 §3 before {target_host}/{target_port}/.
const prefix = "/.well-known/masque/udp/"

// Path returns the path that names addr, host:port.
func Path(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	// Colons must not stand as they are (RFC 9298 §3).
	return prefix + strings.ReplaceAll(url.PathEscape(host), ":", "%3A") + "/" + port + "/", nil
}

// Target returns the target that the path of a request names, as host:port, and whether it
// has the form. path comes escaped, and without a query. What host is made of is for the caller
// to check.
func Target(path string) (addr string, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", false
	}
	host, rest, _ := strings.Cut(rest, "/")
	port, rest, ended := strings.Cut(rest, "/")
	if !ended || rest != "" || host == "" || port == "" {
		return "", false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", false
	}
	host, err = url.PathUnescape(host)
	if err != nil || strings.ContainsAny(host, "[]") {
		return "", false
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), true
}
