package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretShowsNothing(t *testing.T) {
	const password = "hunter2"
	s := NewSecret(password)
	kept := struct{ secret Secret }{s} // fmt calls no methods on it
	dir := folder(t, map[string]string{"pw": password})
	c, err := ParseClient(filepath.Join(dir, "byway.toml"), []byte(`
listen = [{ address = "127.0.0.1:0", user = [{ name = "a", secret = { file = "pw" } }] }]
hop = [{ name = "a", url = "http://a:hunter2@192.0.2.1" }]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{s, &s, []Secret{s}, map[string]Secret{"k": s}, kept, &kept, User{"a", s}, c, *c, c.Hops} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%10.2s"} {
			if out := fmt.Sprintf(verb, v); shows(out, password) {
				t.Errorf("%s of %T shows the secret: %s", verb, v, out)
			}
		}
		b, err := json.Marshal(v)
		if err != nil || shows(string(b), password) {
			t.Errorf("JSON of %T: %s, %v", v, b, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		if shows(log.String(), password) {
			t.Errorf("slog of %T shows the secret: %s", v, &log)
		}
	}
	text, err := s.MarshalText()
	for _, out := range []string{s.String(), s.GoString(), fmt.Sprint(s), s.LogValue().String(), string(text)} {
		if out != "[secret]" || err != nil {
			t.Errorf("got %q, %v, want [secret]", out, err)
		}
	}
}

// shows reports whether out has the secret, plain or in hexadecimal.
func shows(out, secret string) bool {
	low := strings.ToLower(out)
	return strings.Contains(low, secret) || strings.Contains(low, fmt.Sprintf("%x", secret))
}

func TestSecretEqual(t *testing.T) {
	var zero Secret
	a, same, other := NewSecret("a"), NewSecret("a"), NewSecret("b")
	switch {
	case a.Reveal() != "a" || a.IsZero():
		t.Error("the secret got lost")
	case zero.Reveal() != "" || !zero.IsZero() || !NewSecret("").IsZero():
		t.Error("the zero secret is not zero")
	case !a.Equal(same) || a.Equal(other) || a.Equal(zero) || !zero.Equal(Secret{}):
		t.Error("Equal is wrong")
	case !cmp.Equal(a, same) || !reflect.DeepEqual(a, same) || reflect.DeepEqual(a, other):
		t.Error("comparing secrets in structs is wrong")
	}
}

func TestErrorsUnwrap(t *testing.T) {
	cause := errors.New("x")
	var err error = Errors{{File: "f", Line: 1, Col: 2, Key: "k", Err: errors.New("y")}, {Err: cause}}
	if !errors.Is(err, cause) {
		t.Error("errors.Is does not find the second cause")
	}
	if want := "f:1:2: k: y\nx"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
