package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/configs"
)

// TestREADME reads the configuration in the README, and finds its commands.
func TestREADME(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	_, rest, ok := strings.Cut(text, "```toml\n")
	if !ok {
		t.Fatal("the README has no configuration")
	}
	sample, _, _ := strings.Cut(rest, "```")
	sample = strings.ReplaceAll(sample, "sha256/…", "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "me.token"), []byte("0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configs.ParseClient(filepath.Join(dir, "byway.toml"), []byte(sample)); err != nil {
		t.Errorf("the README's configuration: %v", err)
	}
	root := rootCommand()
	seen, block := 0, false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			block = !block
		}
		if !block {
			continue
		}
		args := strings.Fields(strings.TrimPrefix(line, "go run ./cmd/byway"))
		switch {
		case strings.HasPrefix(line, "go run ./cmd/byway "):
		case strings.HasPrefix(line, "byway "):
			args = args[1:]
		default:
			continue
		}
		seen++
		c, flags, err := root.Find(args)
		if err != nil {
			t.Errorf("README: %q: %v", strings.TrimSpace(line), err)
			continue
		}
		if comment := strings.Index(strings.Join(flags, " "), "#"); comment >= 0 {
			flags = strings.Fields(strings.Join(flags, " ")[:comment])
		}
		if err := c.ParseFlags(flags); err != nil {
			t.Errorf("README: %q: %v", strings.TrimSpace(line), err)
		}
	}
	if seen < 5 {
		t.Errorf("only %d commands were found in the README", seen)
	}
}
