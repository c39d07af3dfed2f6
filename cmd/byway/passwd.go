package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/users"
)

func passwdCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd",
		Short: "Hash a password for a configuration",
		Long: "Hash a password, and print the line that belongs behind password_hash in a\n" +
			"[[listen.user]]. The password is asked for twice, and not shown; where there is no\n" +
			"terminal, it is the one line of the standard input.",
		Example: "  byway passwd\n  byway passwd <alice.pw",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			password, err := askPassword(c.Context(), os.Stdin, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(password) < 1 || len(password) > 255 {
				return errors.New("a password has 1 to 255 bytes")
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), configs.PasswordHash(users.NewHash(password)).PHC())
			return err
		},
	}
}

// askPassword reads a password, from a terminal without showing it.
func askPassword(ctx context.Context, in *os.File, out io.Writer) (string, error) {
	if !term.IsTerminal(int(in.Fd())) {
		return oneLine(in)
	}
	first, err := readHidden(ctx, in, out, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := readHidden(ctx, in, out, "Once more: ")
	if err == nil && first != second {
		err = errors.New("the two passwords differ")
	}
	return first, err
}

// readHidden reads a line from a terminal whose echo is off meanwhile. When ctx ends,
// the terminal is left as it was.
func readHidden(ctx context.Context, in *os.File, out io.Writer, prompt string) (string, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprint(out, prompt)
	defer func() { _, _ = fmt.Fprintln(out) }()
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return string(a.line), a.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

// oneLine reads all of in, which must be a line with or without its end.
func oneLine(in io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), 1<<10))
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if strings.ContainsAny(line, "\r\n") {
		return "", errors.New("the input has more than one line; give the password alone")
	}
	return line, nil
}
