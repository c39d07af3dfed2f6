// Package users checks passwords of which only Argon2id hashes (RFC 9106) are kept.
//
// A hash is slow on purpose, and so three things are seen to: no more than a few are
// computed at once, for the others wait their turn; who got in once gets in without one for
// a while; and what a login costs does not tell which names exist.
package users
