package main

import (
	"strings"
	"testing"

	"rsc.io/qr/coding"
)

const aPin = "sha256/AAAA+AAAAAAAAAAAAAAAAAAAAAAAAAAA/AAAAAAAAAA="

func TestLink(t *testing.T) {
	for _, raw := range []string{
		"https://me:token@my.example.org?ech=AAA+&pin=" + aPin + "#my.example.org",
		"https://me:to%2Bk%40n@[2001:db8::1]:8443?pin=" + aPin + "&pin=" + aPin,
		"https://me:token@my.example.org#a%20name",
		"socks5://127.0.0.1:1080",
	} {
		l, err := parseLink(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		again, err := parseLink(l.String())
		if err != nil || again.String() != l.String() || again.hop.String() != l.hop.String() || strings.Join(again.pins, " ") != strings.Join(l.pins, " ") {
			t.Errorf("%s: %s, then %s, %v", raw, l, again, err)
		}
		if strings.Contains(raw, "pin=") && l.pins[0] != aPin || strings.Contains(raw, "ech") && l.ech != "AAA+" {
			t.Errorf("%s: %+v", raw, l)
		}
	}
	old, err := parseLink("https://me:token@my.example.org#pin=" + aPin + "&pin=" + aPin)
	if err != nil || len(old.pins) != 2 || old.name != "" {
		t.Errorf("%+v, %v", old, err)
	}
	for raw, why := range map[string]string{
		"secret":                               "not a URL",
		"https://me:secret@x?pim=1":            "known are pin and ech",
		"https://me:secret@x?pin=sha256/short": "44 characters",
		"https://me:secret@x?pin=" + aPin[7:]:  "44 characters",
		"https://me:secret@x?ech=?":            "ech",
		"https://me:secret@x/path":             "",
		"socks5://me:secret@x?pin=" + aPin:     "for https",
		"https://me:secret@x?pin=%zz":          "",
	} {
		if _, err := parseLink(raw); err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add("https://me:token@my.example.org:8443?ech=AAAA&pin=" + aPin + "#name")
	f.Add("https://me:token@x#pin=" + aPin)
	f.Add("socks5://127.0.0.1:1080?")
	f.Add("https://%41@x/?pin=")
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := parseLink(raw)
		if err != nil {
			return
		}
		again, err := parseLink(l.String())
		if err != nil || again.String() != l.String() {
			t.Errorf("%q: %q, %v", raw, l, err)
		}
	})
}

// TestQRCode reads the drawing back as a camera would: modules, format, mask, bytes.
func TestQRCode(t *testing.T) {
	for _, text := range []string{"https://x", "https://me:0123456789abcdef0123456789abcdef@my.example.org:8443?pin=" + aPin + "#my.example.org"} {
		drawn, err := qrCode(text)
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]bool // dark or not
		for line := range strings.Lines(drawn) {
			var top, bottom []bool
			for _, r := range strings.TrimSuffix(line, "\n") {
				top = append(top, r != '█' && r != '▀')
				bottom = append(bottom, r != '█' && r != '▄')
			}
			rows = append(rows, top, bottom)
		}
		if got, ok := readQR(rows); !ok || got != text {
			t.Errorf("%q reads %q, %v", text, got, ok)
		}
		for x := range rows[0] {
			if rows[0][x] || rows[1][x] || rows[x][0] || rows[x][1] {
				t.Error("no margin")
			}
		}
	}
}

// readQR reads the text in bytes of a code without errors, whose mask and level it finds by trying.
func readQR(rows [][]bool) (string, bool) {
	size := len(rows[0]) - 2*quiet
	for mask := range 8 {
		for _, level := range []coding.Level{coding.L, coding.M, coding.Q, coding.H} {
			plan, err := coding.NewPlan(coding.Version((size-17)/4), level, coding.Mask(mask))
			if err != nil {
				continue
			}
			if text, ok := readPlanned(rows, plan); ok {
				return text, true
			}
		}
	}
	return "", false
}

func readPlanned(rows [][]bool, plan *coding.Plan) (string, bool) {
	raw := make([]byte, plan.DataBytes)
	for y, row := range plan.Pixel {
		for x, pix := range row {
			dark := rows[y+quiet][x+quiet]
			switch pix.Role() {
			case coding.Format, coding.Position, coding.Timing, coding.Alignment:
				if dark != (pix&coding.Black != 0) {
					return "", false
				}
			case coding.Data:
				if n := pix.Offset(); dark != (pix&coding.Invert != 0) {
					raw[n/8] |= 0x80 >> (n % 8)
				}
			}
		}
	}
	at := uint(0)
	bits := func(n uint) (v uint) {
		for range n {
			v = v<<1 | uint(raw[at/8]>>(7-at%8)&1)
			at++
		}
		return v
	}
	mode := bits(4)
	width := uint(8)
	if plan.Version > 9 {
		width = 16
	}
	n := bits(width)
	if mode != 4 || 4+width+8*n > uint(8*len(raw)) {
		return "", false
	}
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(bits(8))
	}
	return string(text), true
}
