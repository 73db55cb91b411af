// Package packed writes in few bytes what resources have a lot of: entity tags
// that are digits of a hash, dates of HTTP, instants that lie close together,
// and waits of whole seconds. Whatever is read back is what was written, byte
// for byte and to the nanosecond; a text of another form is not packed, and says
// so. Forms are in the stores of users: they are added to, and never changed.
//
// Functions that append return the extended slice, and keep nothing of what they
// are given. Those that read never panic, whatever the bytes.
package packed
