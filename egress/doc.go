// Package egress is byway's companion on a server outside the restricted network.
//
// On one TLS port it is the last hop of a chain for those who hold a credential
// (CONNECT over HTTP/1.1 and HTTP/2), and a website for everybody else: a request
// without a good credential is answered by the website alone, whatever its method,
// and causes no look-up and no connection.
//
// A [Policy] decides where tunnels may lead. It checks the address that a name
// resolved to, and dials that very address.
package egress
