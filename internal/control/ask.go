package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// A Failure is why a command failed, in the words of the byway that was asked.
type Failure string

func (f Failure) Error() string { return string(f) }

// ErrNobody is what the error of [Ask] is where nobody serves the socket.
var ErrNobody = errors.New("nobody serves the socket")

// nobody is that of a path.
type nobody string

func (n nobody) Error() string {
	return fmt.Sprintf("no byway serves %s; start one, or name its socket", string(n))
}

func (nobody) Is(target error) bool { return target == ErrNobody }

// Ask has the byway at path do a command, and returns what it says. ctx bounds it all. A
// [Failure] is the command's own.
func Ask(ctx context.Context, path, command string, args ...string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "", nobody(path)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s is of another user", path)
	case err != nil:
		return "", err
	}
	defer c.Close() //nolint:errcheck // the reply is there, or the error
	if err := trusted(c); err != nil {
		return "", fmt.Errorf("%s is not asked: %w", path, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(c).Encode(request{command, args}); err != nil {
		return "", ended(ctx, err)
	}
	line, err := readLine(c)
	if err != nil {
		return "", ended(ctx, err)
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return "", errors.New("the answer makes no sense; is it a byway of this version?")
	}
	if r.Error != "" {
		return "", Failure(r.Error)
	}
	return r.Said, nil
}

// ended tells why a conn ended early.
func ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return context.Cause(ctx)
	case err == io.EOF:
		return errors.New("byway hung up; it serves its own user alone, and root")
	}
	return err
}
