package configs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// PasswordHash is what is kept of a password: Argon2id (RFC 9106) of it, version 19.
type PasswordHash struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
	Salt    []byte
	Sum     []byte
}

// Bounds of what a file may ask for, as each login costs that.
const (
	mostMemory  = 256 << 10 // KiB
	mostTime    = 16
	mostThreads = 16
)

const phcPrefix = "$argon2id$v=19$"

// PHC returns h in the PHC string format, as a file has it.
func (h PasswordHash) PHC() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sm=%d,t=%d,p=%d$%s$%s", phcPrefix, h.Memory, h.Time, h.Threads, b64(h.Salt), b64(h.Sum))
}

// String returns "[secret]": who has a hash can try passwords on it.
func (PasswordHash) String() string { return hidden }

// GoString returns "[secret]".
func (PasswordHash) GoString() string { return hidden }

// parsePasswordHash never shows the text in an error.
func parsePasswordHash(s string) (any, error) {
	const again = `make one with "byway passwd"`
	rest, ok := strings.CutPrefix(s, phcPrefix)
	if !ok {
		return nil, fmt.Errorf("does not start with %q; %s", phcPrefix, again)
	}
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return nil, errors.New("is not a whole hash; copy all of the line")
	}
	var m, t, p uint32
	if n, err := fmt.Sscanf(parts[0], "m=%d,t=%d,p=%d", &m, &t, &p); n != 3 || err != nil || parts[0] != fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) {
		return nil, errors.New("has no parameters such as m=65536,t=3,p=4; copy all of the line")
	}
	switch {
	case p < 1 || p > mostThreads:
		return nil, fmt.Errorf("p=%d is not from 1 to %d threads; %s", p, mostThreads, again)
	case m < 8*p || m > mostMemory:
		return nil, fmt.Errorf("m=%d is not from %d to %d KiB, which each login would take; %s", m, 8*p, mostMemory, again)
	case t < 1 || t > mostTime:
		return nil, fmt.Errorf("t=%d is not from 1 to %d passes; %s", t, mostTime, again)
	}
	h := &PasswordHash{Memory: m, Time: t, Threads: uint8(p)}
	var saltErr, sumErr error
	h.Salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(parts[1])
	h.Sum, sumErr = base64.RawStdEncoding.Strict().DecodeString(parts[2])
	switch {
	case saltErr != nil || sumErr != nil || strings.ContainsAny(rest, "\r\n"):
		return nil, errors.New("is not base64 behind its parameters; copy all of the line")
	case len(h.Salt) < 8 || len(h.Salt) > 64:
		return nil, fmt.Errorf("has a salt of %d bytes, not of 8 to 64; %s", len(h.Salt), again)
	case len(h.Sum) < 16 || len(h.Sum) > 64:
		return nil, fmt.Errorf("has %d bytes at its end, not 16 to 64; copy all of the line", len(h.Sum))
	}
	return h, nil
}
