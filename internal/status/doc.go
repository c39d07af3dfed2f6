// Package status tells what a byway does: as metrics for Prometheus, and on a page of its own.
//
// A [Board] is told by traces, and asks its [Source] for what has a state. No metric has a label
// that a client can choose: labels are listeners, chains, hops, rules and lists of the configuration,
// and causes from a list of ours. Targets are told to nobody unless that was asked for.
package status
