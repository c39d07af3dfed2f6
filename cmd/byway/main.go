// Command byway takes SOCKS and HTTP proxy requests from local apps, and carries
// them through a chain of upstream proxies. "byway egress" is its companion on a
// server: the last hop for those who hold a credential, a website for all others.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for rules with a time zone, on systems that have none

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/control"
)

func main() { os.Exit(run()) }

// run is main with an exit status, for tests that run the command.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once, as it would without us.
	context.AfterFunc(ctx, stop)
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, text(err))
		return 1
	}
	return 0
}

// text is what people read: errors of a configuration begin with their place.
func text(err error) string {
	var list configs.Errors
	var one *configs.Error
	var said control.Failure // which may be such errors
	if errors.As(err, &list) || errors.As(err, &one) || errors.As(err, &said) {
		return err.Error()
	}
	return "byway: " + err.Error()
}

// extra are commands of builds that have more.
var extra []func(root *cobra.Command) *cobra.Command

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "byway",
		Short: "A proxy chain that goes no other way than the one configured",
		Long: "byway takes SOCKS4, SOCKS5 and HTTP proxy requests on one local port, and carries\n" +
			"them through a chain of upstream proxies. \"byway egress\" runs on a server: the\n" +
			"last hop for those who hold a credential, a website for everybody else.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), egressCommand(), demoCommand(), checkCommand(), explainCommand(), newidCommand(), userCommand(), joinCommand(), reloadCommand(), doctorCommand(), topCommand(),
		passwdCommand(), frontCommand(), versionCommand())
	for _, more := range extra {
		root.AddCommand(more(root))
	}
	return root
}
