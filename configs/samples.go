package configs

import _ "embed"

// ClientSample is a commented client file with every key of the schema.
// It loads once the secrets that it names exist.
//
//go:embed client.toml
var ClientSample string

// EgressSample is a commented egress file with every key of the schema, save those of
// sites, which [FrontSample] has.
// It loads once the secrets that it names exist.
//
//go:embed egress.toml
var EgressSample string

// FrontSample is a commented egress file with every key of sites, for the website
// alone. It loads as it is.
//
//go:embed front.toml
var FrontSample string
