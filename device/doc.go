// Package device is the authenticator: it captures a face and a finger,
// compares them with the sealed templates of the person, and decides.
//
// All that it touches is a Hardware of small interfaces and a Vault. Three
// kinds of no are kept apart:
//
//   - retry: nothing was compared that could fail; *RetryError carries hints and
//     nothing is counted,
//   - refusal: a Decision that is not granted, with reasons,
//   - fault: every other error; it always refuses, and stays counted.
//
// An attempt is counted as a failure in a commit of its own before anything is
// captured, so that pulling the plug buys no extra try. The audit entry is
// durable before the lock is told.
package device
