// Package lists keeps lists of names and addresses fresh: it fetches them from
// URLs through a dialer of choice, and never in another way, keeps them on disk, and
// puts them in the place of the last ones while these are in use.
//
// A list that is cut short, empty, malformed, shorter than it may be, or not the
// one that was promised (a SHA-256, a minisign key) leaves the last good one as it
// is. [Trace] is told.
package lists
