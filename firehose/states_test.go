package firehose_test

import (
	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/scheduler"
)

// Neither package imports the other.
var _ scheduler.StateStore = (*db.States)(nil)
