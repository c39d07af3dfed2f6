package users

import "encoding/base64"

// decode is base64 (RFC 4648 §4), with as much work for what is none: a character that does not belong there is
// taken for another one.
func decode(coded string) (raw []byte, sound bool) {
	in := make([]byte, len(coded))
	end := len(coded) - 2 // from where on padding may stand
	wrong := 0
	for i := range in {
		c := coded[i]
		if !alphabet[c] && (c != '=' || i < end) {
			c, wrong = 'A', wrong+1
		}
		in[i] = c
	}
	raw = make([]byte, base64.StdEncoding.DecodedLen(len(in)))
	n, err := base64.StdEncoding.Decode(raw, in)
	return raw[:n], err == nil && wrong == 0
}

// alphabet is that of base64.
var alphabet = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		is[c] = true
	}
	return is
}()
