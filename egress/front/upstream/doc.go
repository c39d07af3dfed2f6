// Package upstream is the servers behind a website: how each is spoken to, which of
// them takes a request, and how they are.
package upstream
