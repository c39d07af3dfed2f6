// Package sockets listens on unix sockets that nobody reaches before they have
// their mode, and tells who is at the other end of one. It has answers by UDP leave
// from the address that was asked.
package sockets
