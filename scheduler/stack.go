package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// ours is how a traceback names what is of this package.
const ours = "github.com/cannedos/cannedos/scheduler."

// maxTraceback bounds the traceback of all goroutines in which those of a
// report are looked for, in bytes. It is enough for some ten thousand.
const maxTraceback = 16 << 20

// A frame names the one goroutine that a run, or a call beside it, executes in,
// as a traceback prints it: by the address of the receiver, which that frame
// keeps alive. So that a stack can be found when it is asked for, and costs
// nothing before. Rejected: labels of the profiler, which cost each service 80
// bytes and each restart a tenth of its time.
func (r *run) frame() string     { return fmt.Sprintf("%s(*run).execute(%p)", ours, r) }
func (g *guarded) frame() string { return fmt.Sprintf("%s(*guarded).call(%p,", ours, g) }

// withStacks adds stacks to the first of what did not stop. It stops the world
// for as long as the traceback takes, so that it is left to those who make an
// error or a report of it; under no lock.
func withStacks(all []Unstopped) []Unstopped {
	if len(all) == 0 {
		return all
	}
	asked := all[:min(len(all), named)]
	for block := range bytes.SplitSeq(traceback(), []byte("\n\n")) {
		for i := range asked {
			if u := &asked[i]; u.Stack == "" && bytes.Contains(block, []byte(u.frame)) {
				u.Stack = parseStack(string(block), u.frame)
			}
		}
	}
	return all
}

func traceback() []byte {
	for size := 1 << 18; ; size *= 4 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= maxTraceback {
			return buf[:n]
		}
	}
}

// parseStack reads one goroutine of a traceback: what it waits for, and its
// calls down to that frame.
func parseStack(block, frame string) string {
	var b strings.Builder
	frames, skip := 0, false
	for line := range strings.SplitSeq(strings.TrimLeft(block, "\n"), "\n") {
		file, isFile := strings.CutPrefix(line, "\t")
		switch {
		case strings.HasPrefix(line, frame):
			return b.String()
		case b.Len() == 0:
			// goroutine 7 [chan receive, 2 minutes]:
			_, state, _ := strings.Cut(line, "[")
			b.WriteString("[" + strings.TrimSuffix(state, ":") + "\n")
		case isFile && !skip:
			at, _, _ := strings.Cut(file, " +0x")
			b.WriteString("\t" + at + "\n")
		case isFile:
		case strings.HasPrefix(line, ours) || frames == maxFrames:
			skip = true
		default:
			frames, skip = frames+1, false
			b.WriteString(line[:max(0, strings.LastIndexByte(line, '('))] + "\n")
		}
	}
	return ""
}

// explained adds stacks to an error that says what did not stop; under no lock.
func explained(err error) error {
	if unstopped, ok := errors.AsType[*UnstoppedError](err); ok {
		withStacks(unstopped.Services)
	}
	return err
}
