// Package doctor examines a chain hop by hop, and tells which one is at fault, why, and
// what to do about it.
//
// Each hop is reached through those before it, as a tunnel reaches it, and by the same code:
// a chain of the first k hops dials hop k+1, and the chain of all hops the target. What is measured is a
// cold tunnel each time, so that what a hop adds is the difference of two.
package doctor
