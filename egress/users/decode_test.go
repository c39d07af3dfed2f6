package users

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// TestDecode: what is no base64 is none, and all else is what encoding/base64 has.
func TestDecode(t *testing.T) {
	for _, s := range []string{"", "YQ==", "YWI=", "YWJj", "YWJjZA==", "!WJj", "YW=j", "YQ=", "Y===", "YQ", "====", "YW Jj", "YWJj\n", "YQ==YQ==", "é"} {
		want, err := base64.StdEncoding.DecodeString(s)
		if strings.ContainsAny(s, "\r\n") {
			err = errors.New("no field has that")
		}
		got, sound := decode(s)
		if sound != (err == nil) || sound && string(got) != string(want) {
			t.Errorf("%q: %q, %v; want %q, %v", s, got, sound, want, err)
		}
	}
}
