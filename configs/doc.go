// Package configs is byway's configuration: the TOML schema as plain structs,
// a strict parser, and the shipped samples ([ClientSample], [EgressSample]).
//
// There are two kinds of file. [Client] configures the local side (listeners,
// hops, chains, routes), [Egress] the companion on the server. [LoadClient] and
// [LoadEgress] read a file, [ParseClient] and [ParseEgress] take its bytes:
//
//	c, err := configs.LoadClient("byway.toml")
//
// Strict means that every key must be known, every value must have its type and
// its range, every name that is referred to must exist, and every secret must
// be readable. All that is wrong is reported at once, as [Errors], and each
// [Error] says where it is, what is wrong and what to do:
//
//	byway.toml:7:1: [[hop]] key "secrt" is not known; did you mean "secret"?
//	byway.toml:12:9: chain "default": hop "pariss" is not defined; did you mean "paris"?
//
// The syntax is checked by github.com/BurntSushi/toml (TOML 1.1,
// https://toml.io/en/v1.1.0). It has no positions for keys, so the package finds
// these itself; they stay with the result, for those who build from it and meet
// errors later: see [Client.Errorf].
//
// The package builds nothing: it dials nothing, resolves no names, and makes no
// TLS objects. Of the files that a configuration names it reads only the secrets.
package configs
