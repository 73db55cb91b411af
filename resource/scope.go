package resource

// Scope is what is handled in one place at a time: one credential at one
// origin. It is known before the first request, so that work can be divided
// by it.
type Scope struct {
	Credential string `json:"credential,omitempty"` // name of the credential; empty: none
	Origin     string `json:"origin"`               // such as https://api.github.com
}

// String returns credential@origin, or the origin alone.
func (s Scope) String() string {
	if s.Credential == "" {
		return s.Origin
	}
	return s.Credential + "@" + s.Origin
}

// BucketKey names a bucket: a quota inside a scope. An empty Name is the scope
// itself: what its origin counts for the credential as a whole.
type BucketKey struct {
	Scope
	Name string `json:"name,omitempty"`
}

// String returns the scope, and the name behind a # where there is one.
func (k BucketKey) String() string {
	if k.Name == "" {
		return k.Scope.String()
	}
	return k.Scope.String() + "#" + k.Name
}
