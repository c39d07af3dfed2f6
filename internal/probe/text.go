package probe

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// maxText bounds what braces can make of a text.
const maxText = 1 << 20

// expand fills in what stands in braces, the innermost first, and then makes bytes of what is
// escaped. vars are looked up in order.
func expand(text string, vars ...map[string]string) (string, error) {
	for turns := 0; ; turns++ {
		end := strings.IndexByte(text, '}')
		if end < 0 {
			return unescape(text)
		}
		begin := strings.LastIndexByte(text[:end], '{')
		if begin < 0 || turns > 100 {
			return "", fmt.Errorf("braces that do not match in %q", text)
		}
		value, err := valueOf(text[begin+1:end], vars)
		if err != nil {
			return "", err
		}
		if text = text[:begin] + value + text[end+1:]; len(text) > maxText {
			return "", fmt.Errorf("a text of more than %d bytes", maxText)
		}
	}
}

func valueOf(name string, vars []map[string]string) (string, error) {
	for _, m := range vars {
		if v, ok := m[name]; ok {
			return v, nil
		}
	}
	switch verb, rest, _ := strings.Cut(name, " "); verb {
	case "b64":
		raw, err := unescape(rest)
		return base64.StdEncoding.EncodeToString([]byte(raw)), err
	case "fill":
		if n, err := strconv.ParseUint(rest, 10, 20); err == nil {
			return strings.Repeat("x", int(n)), nil
		}
	}
	return "", fmt.Errorf("nothing is called {%s}", name)
}

func unescape(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return "", fmt.Errorf("a backslash at the end of %q", text)
		}
		switch text[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case '\\', '{', '}':
			b.WriteByte(text[i])
		case 'x':
			if i+3 > len(text) {
				return "", fmt.Errorf(`\x without two digits in %q`, text)
			}
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf(`\x without two digits in %q`, text)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", fmt.Errorf(`\%c is not known in %q`, text[i], text)
		}
	}
	return b.String(), nil
}
