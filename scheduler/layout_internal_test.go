package scheduler

import (
	"testing"
	"unsafe"
)

// The size classes of the allocator decide what an idle service costs: a field
// more in one of these moves a hundred thousand services into the next class.
func TestLayout(t *testing.T) {
	for name, at := range map[string]struct{ is, most uintptr }{
		"entry":  {unsafe.Sizeof(entry{}), 144},
		"worker": {unsafe.Sizeof(worker{}), 64},
		"run":    {unsafe.Sizeof(run{}), 96},
	} {
		if at.is > at.most {
			t.Errorf("%s has %d bytes, at most %d are meant: move what is rare into extra or rare", name, at.is, at.most)
		}
	}
}
