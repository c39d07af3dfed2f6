package chain

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// A PanicError is a fault of this program that was met on the way of one tunnel, which
// ends by it. Its text is the cause where the Go runtime tells one, such as an index out
// of range, and the type of what panicked else, whose text might hold a target or a secret.
type PanicError struct {
	cause string
	// Stack is the goroutine's, as runtime/debug gives it: functions, lines and addresses of
	// memory, and no text that went through the tunnel.
	Stack []byte
}

func (e *PanicError) Error() string { return "a fault of byway (panic): " + e.cause }

// Caught makes of a panic of its caller, which defers it, the error that err points to. It is for what a
// single tunnel's goroutine runs: what the panic left behind there must be dropped with the tunnel.
func Caught(err *error) {
	v := recover()
	if v == nil {
		return
	}
	e := &PanicError{cause: fmt.Sprintf("%T", v), Stack: debug.Stack()}
	if told, ok := v.(runtime.Error); ok {
		e.cause = told.Error()
	}
	*err = e
}
