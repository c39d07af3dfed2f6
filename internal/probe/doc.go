// Package probe looks at web servers as one who suspects them would: it sends what is written
// in a table, byte for byte, and records all that comes back, so that two servers can be
// compared. It knows TLS, HTTP/2 frames and how connections end; it judges nothing.
//
// A table is text. "#" begins a comment; what belongs to a heading is indented.
//
//	list credential
//	  none
//	  wrong  Proxy-Authorization: Basic {b64 alice:wrong}\r\n
//
//	probe connect each credential
//	  tls alpn=http/1.1
//	  send CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n{credential}\r\n
//
// makes two probes, connect/none and connect/wrong. In braces stand what the list or the
// [Target] has by that name, {b64 TEXT}, and {fill N} for N bytes; \r, \n, \0, \\ and \xHH
// are bytes. [Steps] are the verbs.
package probe
