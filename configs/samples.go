package configs

import _ "embed"

// ClientSample is a commented client file with every key of the schema.
// It loads once the secrets that it names exist.
//
//go:embed client.toml
var ClientSample string

// EgressSample is a commented egress file with every key of the schema.
// It loads once the secrets that it names exist.
//
//go:embed egress.toml
var EgressSample string
