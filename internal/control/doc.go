// Package control is how a running byway is told things: a unix socket of its
// user's, and commands by name.
//
// A conn carries one request and its reply, each a line of JSON:
//
//	{"command":"newid","args":[]}
//	{"said":"…"}
//
// and {"error":"…"} in place of what is said if the command failed. The socket has
// the mode 0600, and where the system tells who is at the other end, both look:
// the server answers its own user and root, and [Ask] talks to nobody else either.
package control
