//go:build man

package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Those who package byway build it with the tag "man" to have its manual pages written.
func init() {
	extra = append(extra, func(root *cobra.Command) *cobra.Command {
		return &cobra.Command{
			Use: "man DIR", Short: "Write the manual pages", Args: cobra.ExactArgs(1), Hidden: true,
			RunE: func(_ *cobra.Command, args []string) error {
				root.DisableAutoGenTag = true
				date := time.Unix(0, 0).UTC() // the same each time
				return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "byway " + versionText(), Manual: "byway", Date: &date}, args[0])
			},
		}
	})
}
