// Package local is byway on the user's machine: it builds listeners, chains and
// the router from a configuration, and serves until it is told to stop.
//
// One port takes everything: the first byte of a connection tells SOCKS4, SOCKS5
// and HTTP apart.
//
// The base dialer is given to the first hop of each chain and to "direct" rules,
// and to nothing else. [Server.Paths] names every path that can go direct.
package local
