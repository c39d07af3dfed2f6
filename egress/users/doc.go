// Package users holds who may use an egress, how much, and what they have used.
//
// A [Set] tells a good credential from all others in the same time and by the same
// work. Its users are those of a configuration ([Set.Declare]) and those made by commands
// ([Set.Add] and others), which are kept in a [Store]. [Set.Begin] lets a user have
// a [Tunnel], which counts what it moves, keeps it to the user's rate and quota, and
// is ended when the user may no longer have it: disabled, removed, expired, or out of quota.
//
// What users have moved is written to the store as they go, so that a crash loses no more than
// 1 % of a day's usage, or a MiB.
//
// [Line] shares the capacity of an egress fairly between its users, however many tunnels each has.
package users
