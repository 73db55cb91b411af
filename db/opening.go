package db

// Exclusive is the optional power of a store that one process at a time can
// have open, such as a file with a lock. It names the present opening by an
// Owner of its own. A lease that was claimed under another opening is dead: its
// holder can't have the store any more, so nobody needs to wait for its end.
type Exclusive interface {
	Opening() Owner
}

// Opening names this opening of the file: a random Owner, fixed until Close.
// See [Exclusive].
func (f *File) Opening() Owner { return f.opening }
