package users

import (
	"encoding/base64"
	"strings"
	"testing"
)

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestVerify(t *testing.T) {
	const alice, bob = "alice-token-0123456789", "bob-token-0123456789ab"
	s, err := New(map[string]string{"alice": alice, "bob": bob})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		fields []string
		user   string
	}{
		{"basic", []string{basic("alice:" + alice)}, "alice"},
		{"basic, other user", []string{basic("bob:" + bob)}, "bob"},
		{"scheme in another case", []string{strings.Replace(basic("bob:"+bob), "Basic", "bAsIC", 1)}, "bob"},
		{"bearer", []string{"Bearer " + alice}, "alice"},
		{"missing", nil, ""},
		{"empty", []string{""}, ""},
		{"doubled", []string{basic("alice:" + alice), basic("alice:" + alice)}, ""},
		{"wrong token", []string{basic("alice:" + bob)}, ""},
		{"unknown user", []string{basic("carol:" + alice)}, ""},
		{"no token", []string{basic("alice:")}, ""},
		{"no colon", []string{basic("alice")}, ""},
		{"not base64", []string{"Basic ?"}, ""},
		{"other scheme", []string{"Digest " + alice}, ""},
		{"bearer with the user", []string{"Bearer alice:" + alice}, ""},
		{"basic as bearer", []string{"Bearer " + base64.StdEncoding.EncodeToString([]byte("alice:"+alice))}, ""},
		{"something behind", []string{basic("alice:" + alice + "x")}, ""},
		{"oversized", []string{basic("alice:" + alice + strings.Repeat("x", 4096))}, ""},
	} {
		user, ok := s.Verify(test.fields)
		if user != test.user || ok != (test.user != "") {
			t.Errorf("%s: got %q, %v", test.name, user, ok)
		}
	}
	if _, ok := new(Set).Verify([]string{"Bearer "}); ok {
		t.Error("the zero Set knows somebody")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tokens := range map[string]map[string]string{
		"nobody":      {},
		"short token": {"alice": "secret"},
		"no name":     {"": NewToken()},
		"colon":       {"a:b": NewToken()},
		"too long":    {"alice": strings.Repeat("x", 2000)},
	} {
		if _, err := New(tokens); err == nil {
			t.Errorf("%s: no error", name)
		} else if tok := tokens["alice"]; tok != "" && strings.Contains(err.Error(), tok) {
			t.Errorf("%s: the error tells the token", name)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	token := NewToken()
	s, err := New(map[string]string{"alice": token})
	if err != nil {
		b.Fatal(err)
	}
	for name, fields := range map[string][]string{
		"good": {basic("alice:" + token)}, "wrong": {basic("alice:" + token[1:] + "x")}, "missing": nil,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Verify(fields)
			}
		})
	}
}
